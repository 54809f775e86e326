use std::sync::Arc;

use super::*;
use crate::dialect::samples;
use crate::operation::{ChildCounts, Event, EventType, Kind, WaitReason, Waiting};
use crate::pages::template::Templates;

/// In the page, and as parts in its stream.
#[test]
fn every_state_has_its_page() {
    let templates = Templates::new().unwrap();
    let kind = Kind::parse("a").unwrap();
    let mut states = std::collections::BTreeSet::new();
    for operation in samples(&kind) {
        states.insert(operation.state_name());
        let life = operation.life.clone();
        let event = Event { event_type: EventType::Finished, life };
        for now in [None, Some(operation.life.updated_at)] {
            let waiting = operation.is_queued().then(|| Waiting {
                reason: WaitReason::BackingOff,
                message: "<b>soon</b>".to_owned(),
                until: Some(operation.life.updated_at),
            });
            let document = Document { waiting, ..Document::basic(Arc::new(operation.clone())) };
            let steps = [Step::of(&event, now)];
            let point = CoursePoint {
                at: operation.life.updated_at,
                attempt: operation.life.attempt,
                percent: 40.0,
            };
            let course = [point, point];
            let mut counts = ChildCounts::default();
            counts.add_stored(operation.state_name(), 3);
            let rows = vec![Row::of(&document, now)];
            let children = Children::made(operation.id(), &counts, rows);
            let whole = Whole {
                row: Row::of(&document, now),
                facts: Facts::of(&operation, Some("http://traces/{trace_id}"), now),
                troubles: troubles(&operation),
                timeline: Timeline::of(&steps, &course, operation.life.updated_at),
                steps: &steps,
                left_out: 0,
                lines: Vec::new(),
                children: Some(&children),
                contents: Vec::new(),
                deliveries: Deliveries { rows: &[] },
                commands: Vec::new(),
                once: "1".to_owned(),
                live: None,
            };
            let name = operation.state_name();
            for (_, template) in PARTS.into_iter().chain([("", "operation.html")]) {
                let view = (Frame::sample(), &whole);
                let html = templates.render(template, crate::pages::visit::framed(&view.0, view.1));
                let html = html.unwrap_or_else(|error| panic!("{template} of {name}: {error}"));
                assert!(!html.contains("<b>soon") && !html.contains("\\ <b>"), "{html}");
            }
        }
    }
    assert_eq!(states.len(), 7, "{states:?}");
}

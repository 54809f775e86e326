//! One schedule: a seed, everything that it makes happen, and what the checker says of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use longrun::operation::filter::Filter;
use longrun::operation::{Operation, TenantId};
use longrun::store::{
    HistoryEntry, HistoryPosition, HistoryQuery, ListOrder, ListQuery, Lookup, OrderBy, PayloadRole,
};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, yield_now};

use crate::caller::Caller;
use crate::disk::Disk;
use crate::feed::Feed;
use crate::history::{self, Final, History, Violation};
use crate::record::{self, Record};
use crate::store::{Lie, Weather};
use crate::submitter::{Submitter, batches, read_text};
use crate::worker::Worker;
use crate::world::{World, hops};

/// So many looks at whether all is done, each a few hundred milliseconds after the last.
const PATIENCE: u32 = 6_000;

/// So many looks in a row must find all done: what a client has given up may still be on its way to the store.
const QUIET: u32 = 20;

/// So many looks at whether a watch over everything knows all.
const FEED_PATIENCE: u32 = 200;

/// What came of a schedule.
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub history: History,
    pub trace: Vec<String>,
    /// Commits, those of unknown outcome, failures of the store, starts of the server, and how often the
    /// store was found not to answer.
    pub counts: [u64; 5],
}

/// Runs the schedule of a seed, over a store with that lie.
pub fn run(seed: u64, lie: Lie, traced: bool) -> Outcome {
    run_over(seed, lie, 1, traced)
}

/// Runs the schedule of a seed with so many replicas.
pub fn run_over(seed: u64, lie: Lie, replicas: usize, traced: bool) -> Outcome {
    // The service draws jitter from the thread's own source.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().build().unwrap();
    LocalSet::new().block_on(&runtime, play(fastrand::Rng::with_seed(seed), lie, replicas, traced))
}

async fn play(mut rng: fastrand::Rng, lie: Lie, replicas: usize, traced: bool) -> Outcome {
    let world = World::new(lie, replicas, traced, &mut rng);
    (0..replicas).for_each(|which| world.begin_to_start(which));
    let workers: Vec<_> = (0..rng.usize(1..4))
        .map(|number| tokio::task::spawn_local(Worker::new(Rc::clone(&world), number).run()))
        .collect();
    let callers: Vec<_> = (0..rng.usize(..3))
        .map(|number| tokio::task::spawn_local(Caller::new(Rc::clone(&world), number).run()))
        .collect();
    let submitters: Vec<_> = (0..rng.usize(1..4))
        .map(|number| tokio::task::spawn_local(Submitter::new(Rc::clone(&world), number).run()))
        .collect();
    // With one server the feeds have tests of their own.
    let feed = (replicas > 1).then(|| Rc::new(Feed::new(Rc::clone(&world))));
    let following = feed.as_ref().map(|feed| tokio::task::spawn_local(Rc::clone(feed).run()));
    let mut stalls = 0;
    for _ in 0..rng.u32(60..240) {
        trouble(&world, &mut rng).await;
        stalls += u64::from(world.is_stalled());
    }
    world.record.note(|| "enough".to_owned());
    world.enough.set(true);
    // Of several some may stay away: the others see to everything.
    let stays = rng.usize(..replicas);
    for which in 0..replicas {
        world.set_weather(which, Weather::Calm);
        world.hold_up(which, false);
        if which == stays || rng.bool() {
            if !world.is_starting_or_up(which) {
                world.begin_to_start(which);
            }
        } else {
            world.crash(which).await;
        }
        world.land(which);
    }
    let mut quiet_looks = 0;
    for _ in 0..PATIENCE {
        world.clock.advance(rng.u32(1..8));
        for _ in 0..8 {
            yield_now().await;
        }
        let quiet = submitters.iter().all(|task| task.is_finished())
            && world.outstanding() == Some(0)
            // One of several engines knows what the others did only by and by.
            && world.disk().unfinished(None, 1).is_empty()
            && world.record.all_watches_ended();
        quiet_looks = if quiet { quiet_looks + 1 } else { 0 };
        if quiet_looks == QUIET {
            break;
        }
    }
    if let Some(feed) = &feed {
        // Its stream may just have been cut.
        for _ in 0..FEED_PATIENCE {
            if feed.lacks(&world.disk()).is_none() {
                break;
            }
            world.clock.advance(6);
            hops(&mut rng, 60).await;
        }
        if let Some(lack) = feed.lacks(&world.disk()) {
            world.record.odd("", lack);
        }
    }
    // What is remembered of the removed is forgotten in time, by a server that has nothing else to do.
    for _ in 0..PATIENCE {
        // One of several may just have had to give up what it held for too long.
        let is_settled = replicas == 1 || world.outstanding() == Some(0);
        if is_settled && world.disk().tombstones() == 0 {
            break;
        }
        world.clock.advance(16);
        for _ in 0..4 {
            yield_now().await;
        }
    }
    let tombstones = world.disk().tombstones();
    if tombstones > 0 {
        world.record.odd("", format!("{tombstones} tombstones are kept for ever"));
    }
    let outstanding = world.outstanding();
    if outstanding != Some(0) {
        let oddity = format!("the engine takes {outstanding:?} for not done");
        world.record.odd("", oddity);
    }
    for task in submitters.into_iter().chain(workers).chain(callers).chain(following) {
        task.abort();
        let ended = task.await;
        assert!(!ended.is_err_and(|error| error.is_panic()), "an actor panicked");
    }
    for which in 0..replicas {
        world.crash(which).await;
        world.land(which);
    }
    let history = collect(&world.record, &world.disk());
    let [commits, unknowns, failures] = world.counts();
    Outcome {
        violations: history::check(&history),
        history,
        trace: world.record.trace(),
        counts: [commits, unknowns, failures, world.starts.get(), stalls],
    }
}

/// The next thing that happens to everybody.
async fn trouble(world: &Rc<World>, rng: &mut fastrand::Rng) {
    let which = if world.replicas() == 1 { 0 } else { rng.usize(..world.replicas()) };
    if world.replicas() > 1 {
        trouble_among(world, which, rng);
    }
    match rng.u32(..100) {
        0..66 => world.clock.advance(rng.u32(1..8)),
        66..74 => {
            let weathers = [
                Weather::Calm,
                Weather::Flaky,
                Weather::Flaky,
                Weather::ReadOnly,
                Weather::Down,
                Weather::Slow,
            ];
            let weather = rng.choice(weathers).unwrap_or_default();
            world.record.note(|| format!("the weather is {weather:?} at {which}"));
            world.set_weather(which, weather);
        }
        74..80 => {
            world.crash(which).await;
            // Not always at once.
            if rng.bool() {
                world.begin_to_start(which);
            }
        }
        80..88 if !world.is_starting_or_up(which) => world.begin_to_start(which),
        88..90 => {
            // What is told late is known to be so for a minute.
            let ticks = rng.u32(10..if world.replicas() == 1 { 1_000 } else { 300 });
            // Time passes, or the clock is only set.
            let is_set = rng.bool();
            world.record.note(|| format!("the clock goes on by {ticks} ticks, set: {is_set}"));
            if is_set {
                world.clock.set_ahead(ticks);
            } else {
                world.clock.advance(ticks);
            }
        }
        90..93 => {
            let ticks = rng.u32(10..500);
            world.record.note(|| format!("the clock is set back by {ticks} ticks"));
            world.set_back(ticks);
        }
        93..96 => {
            // Long enough for everybody who waits to lose patience.
            for _ in 0..rng.u32(10..60) {
                world.clock.advance(8);
                yield_now().await;
            }
        }
        _ => {}
    }
    // A crash may come after a few steps of the others, or when nobody has anything to do.
    if rng.bool() {
        hops(rng, 30).await;
    } else {
        for _ in 0..4 {
            yield_now().await;
        }
    }
}

/// What happens only to one of several.
fn trouble_among(world: &World, which: usize, rng: &mut fastrand::Rng) {
    match rng.u32(..40) {
        0 => world.hold_up(which, true),
        1..5 => world.hold_up(which, false),
        5..7 => world.deafen(which, rng.u32(1..100)),
        7..12 => world.land(which),
        12 => world.fail_over(),
        _ => {}
    }
}

/// Adds to what was recorded what is stored at the end.
fn collect(record: &Record, disk: &Disk) -> History {
    let query = ListQuery {
        scope: TenantId::default_tenant().into(),
        filter: Filter::default(),
        order: ListOrder { by: OrderBy::CreateTime, descending: false },
        after: None,
        limit: usize::MAX,
    };
    let listed = disk.list(&query);
    let mut ids = record.seen();
    ids.extend(listed.iter().map(Operation::id));
    ids.sort_unstable();
    ids.dedup();
    let mut finals = BTreeMap::new();
    for id in ids {
        let Some(operation) = disk.load(&Lookup::Id(id)) else { continue };
        let in_list = listed.iter().find(|listed| listed.id() == id);
        let mut last = last(record, disk, &operation, in_list);
        if operation.is_batch() {
            batches::check(record, disk, &operation);
            // No worker has reported these.
            last.tokens.clear();
            last.events.iter_mut().for_each(|event| event.tokens.clear());
        }
        finals.insert(record.name(id), last);
    }
    History { finals, ..record.take() }
}

fn last(record: &Record, disk: &Disk, operation: &Operation, listed: Option<&Operation>) -> Final {
    let id = operation.id();
    let after = HistoryPosition::default();
    let entries = disk.history(&HistoryQuery { id, after, include_log: true, limit: usize::MAX });
    let text = |role| disk.payload(id, role).map(|data| read_text(&data));
    let mut tokens = record::outcome_tokens(operation);
    tokens.extend(text(PayloadRole::Result));
    let (mut events, mut log) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            HistoryEntry::Transition(event) => events.push(record::event_fact(&event)),
            HistoryEntry::Log(line) => {
                let next = log.len() as u64 + 1;
                if line.number != next {
                    let oddity = format!("line {} stands where {next} belongs", line.number);
                    record.odd(&record.name(id), oddity);
                }
                log.push((line.attempt.0 as i32, line.text));
            }
        }
    }
    Final {
        mark: record::mark(&operation.life),
        listed: listed.map(|listed| record::mark(&listed.life)),
        key: operation.submission.idempotency.as_ref().map(|known| known.key.to_string()),
        content: text(PayloadRole::Input).unwrap_or_default(),
        tokens,
        events,
        log,
    }
}

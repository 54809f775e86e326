//! Workers of all tenants, as a server has them within its process, where several replicas share the store.

use longrun::operation::OperationId;

use super::stage::{Heard, LEASE, Stage, Work, play};

const TENANTS: [&str; 3] = ["ours", "theirs", "others"];

/// Those that the worker was given, which it completes.
async fn complete(stage: &Stage, at: usize, work: &mut Work) -> Vec<OperationId> {
    let mut given = Vec::new();
    for heard in work.heard() {
        let Heard::Assigned(id, attempt) = heard else { panic!("{heard:?}") };
        stage.complete_for_all(at, work.session, id, attempt).await;
        given.push(id);
    }
    given
}

#[test]
fn they_are_given_what_is_submitted_elsewhere_whoever_it_is_of() {
    for is_deaf in [false, true] {
        play(2, |stage| async move {
            let before = stage.submit_of(0, TENANTS[0], 1).await;
            let mut work = stage.work_for_all(1, 3).await;
            stage.rest().await;
            assert_eq!(work.heard(), [Heard::Assigned(before[0], 1)], "it was waiting");
            if is_deaf {
                stage.replicas[1].store.mailbox.deafen(10_000);
            }
            for name in &TENANTS[1..] {
                let id = stage.submit_of(0, name, 1).await[0];
                stage.rest().await;
                if is_deaf {
                    stage.wait_alive(1, work.session, 4).await;
                }
                assert_eq!(work.heard(), [Heard::Assigned(id, 1)], "{name}");
            }
        });
    }
}

#[test]
fn tenants_take_turns_at_every_replica() {
    play(2, |stage| async move {
        let many = stage.submit_of(0, "flood", 200).await;
        let few = stage.submit_of(0, "steady", 4).await;
        let mut work = stage.work_for_all(1, 2).await;
        let mut given = Vec::new();
        while given.len() < 12 {
            stage.rest().await;
            given.extend(complete(&stage, 1, &mut work).await);
        }
        let places: Vec<_> = (0..given.len()).filter(|at| few.contains(&given[*at])).collect();
        assert_eq!(places.len(), 4, "{given:?}");
        assert!(places.iter().enumerate().all(|(number, at)| *at <= 2 * number + 1), "{places:?}");
        assert!(given.iter().filter(|id| many.contains(id)).is_sorted());
    });
}

#[test]
fn what_a_lost_one_held_is_given_to_another() {
    play(2, |stage| async move {
        let id = stage.submit_of(0, "theirs", 1).await[0];
        let mut lost = stage.work_for_all(0, 1).await;
        stage.rest().await;
        assert_eq!(lost.heard(), [Heard::Assigned(id, 1)]);
        stage.crash(0).await;
        let mut work = stage.work_for_all(1, 1).await;
        stage.wait_alive(1, work.session, 4 * LEASE.as_secs() as u32).await;
        assert_eq!(work.heard(), [Heard::Assigned(id, 2)]);
    });
}

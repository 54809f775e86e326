//! The queue of requests for a commit. Tenants take turns, so that one tenant's flood does not delay another.
//!
//! Requests about workers and replicas cost no write of their own and go first. Submissions and commands wait in a lane
//! for each tenant. Lanes take turns of a few requests, across commits. While a tenant with little to do is busy, a
//! commit takes little from full lanes: then a new request waits for the current commit and its own, and no longer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::engine::clock::Moment;
use crate::engine::request::Request;
use crate::operation::Scope;

/// The maximum number of submissions and commands in one commit; its last request may exceed it.
const MOST: usize = 1_024;
/// The maximum from lanes with more than one turn's work while another tenant is busy with less. A commit of these
/// takes little longer than its sync.
const MOST_BESIDE: usize = 16;
/// How long a tenant counts as busy after a request.
const BUSY: Duration = Duration::from_secs(1);
/// The number that a lane may send in one turn; its last request may exceed it.
const TURN: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Requests that take no turn.
    first: VecDeque<Request>,
    lanes: HashMap<Scope, VecDeque<Request>>,
    /// The lanes with waiting requests, in the order of their turns.
    turns: VecDeque<Scope>,
    /// Busy tenants, with the time of their latest request.
    busy: HashMap<Scope, Moment>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.turns.is_empty()
    }

    /// Adds a request.
    pub(super) fn push(&mut self, request: Request, now: Moment) {
        let Some(scope) = lane(&request) else { return self.first.push_back(request) };
        // Workers within this process compete with no tenant.
        if scope != Scope::All {
            self.busy.insert(scope.clone(), now);
        }
        let lane = self.lanes.entry(scope.clone()).or_default();
        if lane.is_empty() {
            self.turns.push_back(scope);
        }
        lane.push_back(request);
    }

    /// Takes the requests of the next commit.
    pub(super) fn next_commit(&mut self, now: Moment) -> Vec<Request> {
        self.busy.retain(|_, seen| now.since(*seen) <= BUSY);
        let most_of_full = if self.is_short() { MOST_BESIDE } else { MOST };
        let mut taken: Vec<Request> = self.first.drain(..).collect();
        let (mut weight, mut of_full) = (0, 0);
        let mut passed_over = VecDeque::new();
        while weight < MOST
            && let Some(scope) = self.turns.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&scope) else { continue };
            let is_full = is_full(lane);
            if is_full && of_full >= most_of_full {
                passed_over.push_back(scope);
                continue;
            }
            let before = weight;
            while weight < MOST.min(before + TURN)
                && let Some(request) = lane.pop_front()
            {
                weight += weigh(&request);
                taken.push(request);
            }
            if is_full {
                of_full += weight - before;
            }
            if let Some(seen) = self.busy.get_mut(&scope) {
                *seen = now;
            }
            if lane.is_empty() {
                self.lanes.remove(&scope);
            } else {
                self.turns.push_back(scope);
            }
        }
        // The lanes that were passed over come first in the next commit.
        passed_over.append(&mut self.turns);
        self.turns = passed_over;
        taken
    }

    /// Whether a busy tenant with little to do waits for other tenants' commits.
    fn is_short(&self) -> bool {
        let asks_for_little = |scope: &Scope| !self.lanes.get(scope).is_some_and(is_full);
        self.busy.len() > 1 && self.busy.keys().any(asks_for_little)
    }
}

/// Whether a lane holds more than one turn's work.
fn is_full(lane: &VecDeque<Request>) -> bool {
    let mut weight = 0;
    lane.iter().any(|request| {
        weight += weigh(request);
        weight > TURN
    })
}

/// The tenant of the request's lane; `None` if it needs no turn.
fn lane(request: &Request) -> Option<Scope> {
    match request {
        Request::Submit { items, .. } => items.first().map(|new| new.tenant.clone().into()),
        Request::Apply { work, .. } => Some(work.scope.clone()),
        _ => None,
    }
}

fn weigh(request: &Request) -> usize {
    match request {
        Request::Submit { items, .. } => items.len().max(1),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::engine::admission::Admission;
    use crate::engine::request::SubmitMode;
    use crate::engine::sample::new_operation;
    use crate::operation::{NewOperation, SessionId, TenantId};

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn submit(tenant: &str, items: usize) -> Request {
        let tenant = TenantId::parse(tenant).expect("a tenant");
        let new = NewOperation { tenant: tenant.clone(), ..new_operation("a") };
        let (reply, _) = oneshot::channel();
        let admission = Admission::new(10, 10 << 10).try_admit(&tenant, 1).expect("there is room");
        Request::Submit { items: vec![new; items], mode: SubmitMode::Each, reply, admission }
    }

    fn taken(waiting: &mut Waiting, now: Moment) -> Vec<(String, usize)> {
        let of = |request: &Request| match request {
            Request::Submit { items, .. } => (items[0].tenant.to_string(), items.len()),
            _ => (String::new(), 0),
        };
        waiting.next_commit(now).iter().map(of).collect()
    }

    #[test]
    fn one_tenant_fills_a_commit_in_the_order_of_its_requests() {
        let mut waiting = Waiting::default();
        (1..=100).for_each(|items| waiting.push(submit("a", items), at(0)));
        let first = taken(&mut waiting, at(0));
        assert_eq!(first.iter().map(|it| it.1).collect::<Vec<_>>(), (1..=45).collect::<Vec<_>>());
        assert_eq!(taken(&mut waiting, at(0)).first().map(|it| it.1), Some(46));
    }

    #[test]
    fn a_tenant_that_comes_late_is_in_the_next_commit_and_that_is_short() {
        let mut waiting = Waiting::default();
        (0..2_000).for_each(|_| waiting.push(submit("flood", 1), at(0)));
        assert_eq!(taken(&mut waiting, at(0)).len(), MOST);
        waiting.push(submit("steady", 1), at(10));
        let next = taken(&mut waiting, at(10));
        assert_eq!(next.len(), MOST_BESIDE + 1);
        assert!(next.contains(&("steady".to_owned(), 1)));
        assert_eq!(taken(&mut waiting, at(900)).len(), MOST_BESIDE, "it may come again");
        assert_eq!(taken(&mut waiting, at(1_100)).len(), 2_000 - MOST - 2 * MOST_BESIDE);
        assert!(waiting.is_empty() && waiting.lanes.is_empty());
    }

    #[test]
    fn tenants_share_a_commit_by_what_it_writes() {
        let mut waiting = Waiting::default();
        for _ in 0..1_000 {
            waiting.push(submit("batches", 32), at(0));
            waiting.push(submit("single", 1), at(0));
        }
        let next = taken(&mut waiting, at(0));
        let single = next.iter().filter(|it| it.0 == "single").count();
        assert!((MOST / 4..=MOST / 2).contains(&single), "{next:?}");
    }

    #[test]
    fn many_that_ask_for_little_share_one_commit_and_nobody_is_passed_over_twice() {
        let mut waiting = Waiting::default();
        for flood in ["a", "b", "c"] {
            (0..100).for_each(|_| waiting.push(submit(flood, 1), at(0)));
        }
        let names: Vec<String> = (0..200).map(|number| format!("little-{number}")).collect();
        names.iter().for_each(|name| waiting.push(submit(name, 1), at(0)));
        let first = taken(&mut waiting, at(0));
        let of = |taken: &[(String, usize)], tenant: &str| {
            taken.iter().filter(|it| it.0 == tenant).count()
        };
        assert_eq!(first.len(), 200 + MOST_BESIDE);
        assert_eq!(["a", "b", "c"].map(|tenant| of(&first, tenant)), [TURN, 0, 0]);
        let second = taken(&mut waiting, at(1));
        assert_eq!(["a", "b", "c"].map(|tenant| of(&second, tenant)), [0, TURN, 0]);
    }

    #[test]
    fn what_needs_no_turn_goes_first() {
        let mut waiting = Waiting::default();
        waiting.push(submit("a", 1), at(0));
        let session = SessionId::from_uuid(uuid::Uuid::from_u128(1));
        waiting.push(Request::Renew { session }, at(0));
        waiting.push(Request::Drain { session }, at(0));
        let taken = waiting.next_commit(at(0));
        let order = matches!(
            taken[..],
            [Request::Renew { .. }, Request::Drain { .. }, Request::Submit { .. }]
        );
        assert!(order, "{taken:?}");
    }

    #[test]
    fn of_more_than_a_commit_takes_the_rest_is_in_the_next() {
        let mut waiting = Waiting::default();
        let names: Vec<String> = (0..MOST + 76).map(|number| format!("little-{number}")).collect();
        names.iter().for_each(|name| waiting.push(submit(name, 1), at(0)));
        let commits = [taken(&mut waiting, at(0)), taken(&mut waiting, at(0))];
        assert_eq!([commits[0].len(), commits[1].len()], [MOST, 76]);
        assert!(commits.concat().into_iter().map(|it| it.0).eq(names), "in their order");
        assert!(waiting.is_empty());
    }
}

//! A command's process group: signalled as a whole, killed when nobody looks after it any more, even if this process is.

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::keeper;

/// A process group. Dropped before it was left alone, it is killed.
#[derive(Debug)]
pub(super) struct Group {
    leader: Option<Pid>,
}

impl Group {
    /// The group that the process `id` leads.
    pub(super) fn led_by(id: Option<u32>) -> Self {
        let id = id.and_then(|id| i32::try_from(id).ok());
        let leader = id.and_then(Pid::from_raw);
        if let Some(leader) = leader {
            keeper::keep(leader);
        }
        Self { leader }
    }

    /// Asks every member to stop.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends every member.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Whether any member still runs. One that has ended and that nobody has reaped yet (orphans in a
    /// container without an init process are never reaped) does not count where `/proc` tells.
    pub(super) fn is_alive(&self) -> bool {
        let Some(leader) = self.leader else { return false };
        test_kill_process_group(leader).is_ok() && any_member_runs(leader).unwrap_or(true)
    }

    /// What is left of it may live on. After the command has ended its number is no longer ours.
    pub(super) fn leave_alone(mut self) {
        if let Some(leader) = self.leader.take() {
            keeper::release(leader);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // The group may be gone already: that is what was wanted.
            let _ = kill_process_group(leader, signal);
        }
    }
}

/// Whether `/proc` shows a running member; `None` where there is no `/proc`.
fn any_member_runs(leader: Pid) -> Option<bool> {
    let group = leader.as_raw_nonzero().to_string();
    let processes = std::fs::read_dir("/proc").ok()?;
    let stats = processes.flatten().map(|process| process.path().join("stat"));
    let mut seen = false;
    for stat in stats.filter_map(|path| std::fs::read_to_string(path).ok()) {
        seen = true;
        // "pid (name) state parent group …": only the name may hold blanks and parentheses.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        let (state, member_of) = (fields.next(), fields.nth(1));
        if member_of == Some(group.as_str()) && !matches!(state, Some("Z" | "X")) {
            return Some(true);
        }
    }
    seen.then_some(false)
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if let Some(leader) = self.leader {
            keeper::release(leader);
        }
    }
}

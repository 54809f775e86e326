//! What handlers are confined to, as flags.

use std::fs;
use std::str::FromStr;

use super::output::Usage;
use crate::config::size;
use crate::time_text::parse_duration;
use crate::worker::command::{Confinement, ProcessLimit};

/// A limit as people type it: `cpu=10s`, `memory=512MiB`, `file-size=1GiB`, `processes=64`, `open-files=256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(ProcessLimit);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, most) = text.split_once('=').ok_or("must be NAME=MOST, e.g. cpu=10s")?;
        let bytes = || size(most).map(|bytes| bytes as u64);
        let count = || most.parse().map_err(|_| format!("{name} must be a whole number"));
        let limit = match name {
            "cpu" => {
                let time = parse_duration(most).map_err(|error| error.to_string())?;
                // A part of a second counts as one.
                ProcessLimit::CpuSeconds(time.as_secs() + u64::from(time.subsec_nanos() > 0))
            }
            "memory" => ProcessLimit::MemoryBytes(bytes()?),
            "file-size" => ProcessLimit::FileBytes(bytes()?),
            "processes" => ProcessLimit::Processes(count()?),
            "open-files" => ProcessLimit::OpenFiles(count()?),
            _ => {
                return Err("the limits are cpu, memory, file-size, processes, open-files".into());
            }
        };
        Ok(Self(limit))
    }
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User(u32, u32);

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((user, group)) = text.split_once(':') {
            let number = |text: &str| {
                text.parse().map_err(|_| "must be a name, or numbers as UID:GID".to_owned())
            };
            return Ok(Self(number(user)?, number(group)?));
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next() == Some(text);
            let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            is_it.then_some(Self(user, group))
        });
        found.ok_or_else(|| format!("/etc/passwd has no user {text}: give numbers, UID:GID"))
    }
}

/// The confinement that flags ask for. `limit` and `user` are the names of the flags.
pub(super) fn confinement(
    limits: &[Limit],
    user: Option<User>,
    has_own_directory: bool,
) -> anyhow::Result<Confinement> {
    let mut confinement =
        limits.iter().fold(Confinement::default(), |all, Limit(limit)| all.with_limit(*limit));
    if let Some(User(user, group)) = user {
        confinement = confinement.with_user(user, group);
    }
    if has_own_directory {
        confinement = confinement.with_own_directory();
    }
    confinement.check().map_err(Usage)?;
    Ok(confinement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let read = |text: &str| text.parse::<Limit>().map(|limit| limit.0);
        assert_eq!(read("cpu=1500ms"), Ok(ProcessLimit::CpuSeconds(2)));
        assert_eq!(read("memory=1GiB"), Ok(ProcessLimit::MemoryBytes(1 << 30)));
        assert_eq!(read("file-size=10"), Ok(ProcessLimit::FileBytes(10)));
        assert_eq!(read("processes=8"), Ok(ProcessLimit::Processes(8)));
        for wrong in ["cpu", "cpu=x", "memory=1", "memory=1kb", "processes=-1", "disk=1"] {
            assert_eq!(read(wrong).is_err(), wrong != "memory=1", "{wrong}");
        }
        assert_eq!("12:34".parse(), Ok(User(12, 34)));
        assert_eq!("root".parse(), Ok(User(0, 0)));
        assert!("no body".parse::<User>().is_err() && "1:".parse::<User>().is_err());
    }
}

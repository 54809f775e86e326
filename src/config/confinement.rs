//! Confinement of commands: of all commands by flags, of one by keys of its `[[handler]]` table.

use std::fs;
use std::str::FromStr;

use super::{size, whole};
use crate::time_text::parse_duration;
use crate::worker::command::{Confinement, ProcessLimit};

/// A limit as typed: `cpu=10s`, `memory=512MiB`, `file-size=1GiB`, `processes=64`, `open-files=256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(ProcessLimit);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, most) = text.split_once('=').ok_or("must be NAME=MOST, e.g. cpu=10s")?;
        let bytes = || size(most).map(|bytes| bytes as u64);
        let count = || {
            let count = whole(1..=u64::MAX)(most);
            count.map_err(|rule| format!("{name} {rule}, e.g. {name}=64"))
        };
        let limit = match name {
            "cpu" => {
                let time = parse_duration(most).map_err(|error| error.to_string())?;
                // Rounded up to whole seconds.
                ProcessLimit::CpuSeconds(time.as_secs() + u64::from(time.subsec_nanos() > 0))
            }
            "memory" => ProcessLimit::MemoryBytes(bytes()?),
            "file-size" => ProcessLimit::FileBytes(bytes()?),
            "processes" => ProcessLimit::Processes(count()?),
            "open-files" => ProcessLimit::OpenFiles(count()?),
            _ => {
                return Err(format!(
                    "{name} is not a limit: must be cpu, memory, file-size, processes or open-files, e.g. cpu=10s"
                ));
            }
        };
        if limit.most() == 0 {
            let example = if name == "cpu" { "10s" } else { "64" };
            return Err(format!("{name} must be at least 1, e.g. {name}={example}"));
        }
        Ok(Self(limit))
    }
}

/// A user and a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u32, u32);

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((user, group)) = text.split_once(':') {
            let number = |text: &str| {
                text.parse().map_err(|_| {
                    "must be a name, or numbers as UID:GID, e.g. 65534:65534".to_owned()
                })
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
        found.ok_or_else(|| {
            format!(
                "must be a user of /etc/passwd, which has no {text}, or numbers, e.g. 65534:65534"
            )
        })
    }
}

/// The confinement of one command. Missing keys are as for all commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnConfinement {
    /// Limits of its processes; each replaces one of the same name.
    pub limits: Vec<Limit>,
    /// The user that runs it.
    pub user: Option<User>,
    /// Whether each attempt runs in an empty directory of its own.
    pub own_directory: Option<bool>,
}

impl OwnConfinement {
    /// The command's confinement, if all commands are confined to `all`.
    pub fn within(&self, all: &Confinement) -> Confinement {
        let limits = self.limits.iter();
        let mut confinement = limits.fold(all.clone(), |all, Limit(limit)| all.with_limit(*limit));
        if let Some(User(user, group)) = self.user {
            confinement = confinement.with_user(user, group);
        }
        match self.own_directory {
            Some(is_so) => confinement.with_own_directory(is_so),
            None => confinement,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_has_of_its_own_takes_the_place_of_what_all_have() {
        let limit = |text: &str| text.parse::<Limit>().unwrap();
        let all = OwnConfinement {
            limits: vec![limit("cpu=1s"), limit("processes=8")],
            user: Some(User(1, 1)),
            own_directory: Some(true),
        };
        let all = all.within(&Confinement::default());
        let own = OwnConfinement {
            limits: vec![limit("cpu=1h")],
            user: None,
            own_directory: Some(false),
        };
        let expected = Confinement::default()
            .with_limit(ProcessLimit::Processes(8))
            .with_limit(ProcessLimit::CpuSeconds(3600))
            .with_user(1, 1);
        assert_eq!(own.within(&all), expected);
        assert_eq!(OwnConfinement::default().within(&all), all);
    }

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

//! Closed sets from one declaration: the enum, the list of its members, and their numbers and names.
//!
//! A member that is missing from a hand-written list compiles, and makes what is stored under its number unreadable.
//! Here there is no such list. Numbers are part of the storage format: never change or reuse one.

/// Declares an enum of numbered members, `Member = 1`, or of numbered and named ones, `Member = 1 "NAME"`.
macro_rules! closed_set {
    (
        $(#[$meta:meta])*
        pub enum $set:ident {
            $($(#[$doc:meta])* $member:ident = $number:literal $name:literal),+ $(,)?
        }
    ) => {
        $crate::operation::closed_set::closed_set! {
            $(#[$meta])*
            pub enum $set { $($(#[$doc])* $member = $number),+ }
        }

        impl $set {
            /// The name in filters, logs and documents.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $name),+
                }
            }

            /// The member with that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$member),)+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $set {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub enum $set:ident {
            $($(#[$doc:meta])* $member:ident = $number:literal),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $set {
            $($(#[$doc])* $member = $number),+
        }

        impl $set {
            /// All members, in the order of their declaration.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$member),+];

            /// The member's number.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The member with that number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$member),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use closed_set;

#[cfg(test)]
mod tests {
    use crate::operation::{EventType, PayloadForm, StateName};

    #[test]
    fn a_member_is_found_by_its_number_and_its_name() {
        for state in StateName::ALL {
            assert_eq!(StateName::from_number(state.number()), Some(state));
            assert_eq!(StateName::parse(state.as_str()), Some(state));
        }
        for event_type in EventType::ALL {
            assert_eq!(EventType::from_number(event_type.number()), Some(event_type));
        }
        for form in PayloadForm::ALL {
            assert_eq!(PayloadForm::from_number(form.number()), Some(form));
        }
        assert_eq!((StateName::from_number(0), StateName::parse("queued")), (None, None));
        assert_eq!(StateName::PartiallySucceeded.to_string(), "PARTIALLY_SUCCEEDED");
    }
}

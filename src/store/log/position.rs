//! The position of a reader of the log, as a token for clients.
//!
//! The token has the frontier and, while a part of the log is being delivered, the place within it, because each
//! message can be the last that arrives. It is signed, so that clients cannot forge one; the nonces of writers show
//! whether it belongs to this database.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Component, Cursor, Frontier, SigningKey};
use crate::operation::{OperationId, Revision};

/// The type byte of a position, in this version of its form.
const SORT: u8 = 1;

/// The place of a reader of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Everything up to here was delivered.
    pub at: Arc<Frontier>,
    /// While a part up to this frontier is delivered: everything in it up to the cursor was delivered.
    pub part: Option<(Arc<Frontier>, Cursor)>,
    /// While current matches are listed by rising id: the last one that was delivered, if any; `None` when the list is
    /// complete.
    pub listed: Option<Option<OperationId>>,
}

impl Position {
    /// The position at which everything up to a frontier was delivered.
    pub fn at(frontier: impl Into<Arc<Frontier>>) -> Self {
        Self { at: frontier.into(), part: None, listed: None }
    }

    /// The position as a text of letters, digits, `-` and `_`.
    pub fn encode(&self, key: &SigningKey) -> String {
        let mut bytes = Vec::new();
        put_frontier(&mut bytes, &self.at);
        match &self.part {
            None => bytes.push(0),
            Some((to, (id, revision))) => {
                bytes.push(1);
                put_frontier(&mut bytes, to);
                bytes.extend_from_slice(id.as_bytes());
                put(&mut bytes, revision.0);
            }
        }
        match &self.listed {
            None => bytes.push(0),
            Some(None) => bytes.push(1),
            Some(Some(id)) => {
                bytes.push(2);
                bytes.extend_from_slice(id.as_bytes());
            }
        }
        key.sign(SORT, &bytes)
    }

    /// Decodes a token; `None` if no server over this store has issued it.
    pub fn decode(token: &str, key: &SigningKey) -> Option<Self> {
        let bytes = key.verify(SORT, token)?;
        let mut left = &bytes[..];
        let at = take_frontier(&mut left)?.into();
        let part = match take_byte(&mut left)? {
            0 => None,
            _ => {
                let to = take_frontier(&mut left)?.into();
                let id = take_id(&mut left)?;
                Some((to, (id, Revision(take(&mut left)?))))
            }
        };
        let listed = match take_byte(&mut left)? {
            0 => None,
            1 => Some(None),
            _ => Some(Some(take_id(&mut left)?)),
        };
        left.is_empty().then_some(Self { at, part, listed })
    }
}

fn put_frontier(bytes: &mut Vec<u8>, frontier: &Frontier) {
    put(bytes, frontier.up_to);
    put(bytes, frontier.open.len() as u64);
    for (writer, Component { nonce, sequence }) in &frontier.open {
        put(bytes, *writer);
        bytes.extend_from_slice(&nonce.to_be_bytes());
        put(bytes, *sequence);
    }
}

fn take_frontier(left: &mut &[u8]) -> Option<Frontier> {
    let (up_to, count) = (take(left)?, take(left)?);
    let mut open = BTreeMap::new();
    for _ in 0..count {
        let writer = take(left)?;
        let (nonce, rest) = left.split_first_chunk()?;
        *left = rest;
        let nonce = u64::from_be_bytes(*nonce);
        open.insert(writer, Component { nonce, sequence: take(left)? });
    }
    Some(Frontier { up_to, open })
}

/// Seven bits per byte, the lowest first, as in protobuf.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(left: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(left)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take_byte(left: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = left.split_first()?;
    *left = rest;
    Some(*byte)
}

fn take_id(left: &mut &[u8]) -> Option<OperationId> {
    let (id, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(OperationId::from_bytes(*id))
}

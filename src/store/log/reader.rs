//! Reads the log from a position.

use std::sync::Arc;

use super::super::{Store, StoreError};
use super::{Cursor, Frontier, Gone, Head, LogPage, LogQuery, Logged, Position, Range};

/// At most this many commits of each writer are read before it is known how many there are. If only one writer has new
/// ones, no more are read at a time: any end is causally closed then.
const MAX_COMMITS: u64 = 4_096;

/// Why the log could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The history after the position is gone. Nothing was skipped.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The store failed; a retry reads the same.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads all commits after a position: each change once, those of an operation in order.
#[derive(Debug)]
pub struct Reader {
    /// Everything up to here was read.
    at: Arc<Frontier>,
    /// The part of the log after it that is being read.
    part: Option<Part>,
    /// Where the previous part began. An operation that changed after this may have been removed before that part was
    /// read; then its removal, in the next part, is the only notice of the change.
    floor: Arc<Frontier>,
}

/// Everything between two frontiers.
#[derive(Debug)]
struct Part {
    to: Arc<Frontier>,
    /// Empty until they have been looked up.
    ranges: Vec<Range>,
    /// As in [`LogQuery`].
    unsure: Vec<Range>,
    after: Option<Cursor>,
    /// The next page, if it was read already.
    page: Option<LogPage>,
    /// Whether its last page was read.
    is_over: bool,
}

impl Part {
    fn new(to: Arc<Frontier>, after: Option<Cursor>) -> Self {
        Self { to, ranges: Vec::new(), unsure: Vec::new(), after, page: None, is_over: false }
    }
}

impl Reader {
    /// Begins after `position`, whose list is ignored.
    pub fn new(position: Position) -> Self {
        let Position { at, part, .. } = position;
        let floor = Arc::clone(&at);
        Self { at, part: part.map(|(to, after)| Part::new(to, Some(after))), floor }
    }

    /// Reads up to that frontier first, unless a part is being read.
    pub fn begin_part(&mut self, to: Arc<Frontier>) {
        self.part.get_or_insert_with(|| Part::new(to, None));
    }

    /// Everything up to here was read, and maybe more.
    pub fn frontier(&self) -> Arc<Frontier> {
        Arc::clone(&self.at)
    }

    /// The end of the part that is being read.
    pub fn end_of_part(&self) -> Arc<Frontier> {
        self.part.as_ref().map_or_else(|| Arc::clone(&self.at), |part| joined(&self.at, &part.to))
    }

    /// The place right after the last page.
    pub fn position(&self) -> Position {
        match &self.part {
            Some(Part { to, is_over: true, .. }) => Position::at(joined(&self.at, to)),
            Some(Part { to, after: Some(after), .. }) => Position {
                part: Some((Arc::clone(to), *after)),
                ..Position::at(Arc::clone(&self.at))
            },
            _ => Position::at(Arc::clone(&self.at)),
        }
    }

    /// A place after which everything is delivered that may not have been: the beginning of the previous part, or the
    /// present place if nothing has come since.
    pub fn certain_position(&self) -> Position {
        Position::at(Arc::clone(&self.floor))
    }

    /// The place right after an entry of the last page.
    pub fn position_behind(&self, cursor: Cursor) -> Position {
        let part = self.part.as_ref().map(|part| (Arc::clone(&part.to), cursor));
        Position { part, ..Position::at(Arc::clone(&self.at)) }
    }

    /// The next page; empty when everything visible was read.
    pub async fn read(
        &mut self,
        store: &dyn Store,
        limit: usize,
    ) -> Result<Vec<Logged>, ReadError> {
        loop {
            if let Some(page) = self.read_part(store, limit).await? {
                return Ok(page);
            }
            self.begin(store, limit).await?;
            if self.part.is_none() {
                return Ok(Vec::new());
            }
        }
    }

    /// Once a part is complete: begins the next one, with everything visible, if there is anything to read. Returns
    /// whether it ends before that. The store is asked once, for the first page too.
    pub async fn begin(&mut self, store: &dyn Store, limit: usize) -> Result<bool, ReadError> {
        let asked = self.at.beyond(&self.at, MAX_COMMITS);
        let unsure = self.at.beyond(&self.floor, MAX_COMMITS);
        let query = LogQuery { ranges: asked.clone(), unsure, after: None, limit };
        let page = store.log(query).await?;
        let (ranges, to) = self.next_part(&page.head)?;
        if ranges.is_empty() {
            // Writers may have been added or have ended.
            self.at = joined(&self.at, &to);
            self.floor = Arc::clone(&self.at);
            return Ok(false);
        }
        let is_cut = to != page.head.frontier();
        let unsure = self.unsure(&page.head, &ranges);
        // Not if there are new writers, or too many commits.
        let is_read = ranges.iter().all(|range| asked.iter().any(|it| it.contains(range)));
        let page = is_read.then_some(page);
        self.part = Some(Part { ranges, unsure, page, ..Part::new(to.into(), None) });
        Ok(is_cut)
    }

    /// The next page with entries of the part that is being read; `None` when the part is complete.
    pub async fn read_part(
        &mut self,
        store: &dyn Store,
        limit: usize,
    ) -> Result<Option<Vec<Logged>>, ReadError> {
        loop {
            let Some(part) = &mut self.part else { return Ok(None) };
            if !part.is_over && part.ranges.is_empty() {
                let head = store.head().await?;
                part.ranges = head.since(&self.at)?;
                part.ranges.retain_mut(|range| part.to.limits(range));
                part.unsure = head.since(&self.floor).unwrap_or_else(|Gone| part.ranges.clone());
                part.is_over = part.ranges.is_empty();
            }
            if part.is_over {
                let at = joined(&self.at, &part.to);
                self.floor = std::mem::replace(&mut self.at, at);
                self.part = None;
                return Ok(None);
            }
            let page = match part.page.take() {
                Some(page) => page,
                None => {
                    let (ranges, unsure) = (part.ranges.clone(), part.unsure.clone());
                    store.log(LogQuery { ranges, unsure, after: part.after, limit }).await?
                }
            };
            let LogPage { entries, next, head } = page;
            if head.lacks(&part.ranges) {
                return Err(Gone.into());
            }
            part.is_over = next.is_none();
            part.after = next.or(part.after);
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
        }
    }

    /// Where a last transition may be that was not delivered; only `ranges` if older records have been deleted.
    fn unsure(&self, head: &Head, ranges: &[Range]) -> Vec<Range> {
        head.since(&self.floor).unwrap_or_else(|Gone| ranges.to_vec())
    }

    /// The next part to read, and its frontier.
    fn next_part(&self, head: &Head) -> Result<(Vec<Range>, Frontier), Gone> {
        let (mut ranges, to) = (head.since(&self.at)?, head.frontier());
        if let [range] = ranges.as_mut_slice()
            && range.up_to - range.after > MAX_COMMITS
        {
            range.up_to = range.after + MAX_COMMITS;
            let to = to.back_to(*range, head);
            return Ok((ranges, to));
        }
        Ok((ranges, to))
    }
}

fn joined(one: &Arc<Frontier>, other: &Frontier) -> Arc<Frontier> {
    let mut joined = Frontier::clone(one);
    joined.join(other);
    joined.into()
}

#[cfg(test)]
mod tests {
    use super::super::{Stamp, WriterState};
    use super::*;

    fn writer(writer: u64, sequence: u64) -> WriterState {
        WriterState { writer, nonce: writer, sequence, trimmed: 0, is_ended: false }
    }

    fn stamp(writer: u64, sequence: u64) -> Stamp {
        Stamp { writer, sequence }
    }

    #[test]
    fn of_one_writer_no_more_is_read_at_a_time_than_a_page_looks_through() {
        let reader = Reader::new(Position::at(Head::new(vec![writer(1, 5)]).frontier()));
        let last = 5 + MAX_COMMITS;
        for is_ended in [false, true] {
            let head = Head::new(vec![WriterState { is_ended, ..writer(1, last + 1) }]);
            let (ranges, to) = reader.next_part(&head).unwrap();
            assert_eq!(ranges, [Range { writer: 1, after: 5, up_to: last }]);
            assert!(to.contains(stamp(1, last)) && !to.contains(stamp(1, last + 1)));
            // The rest is read from there.
            let rest = Reader::new(Position::at(to)).next_part(&head).unwrap();
            assert_eq!(rest.0, [Range { writer: 1, after: last, up_to: last + 1 }]);
            assert_eq!(rest.1, head.frontier());
        }
        // A part of the commits of several writers would not be causally closed.
        let head = Head::new(vec![writer(1, last + 1), writer(2, 1)]);
        let (ranges, to) = reader.next_part(&head).unwrap();
        assert_eq!(ranges.iter().map(|range| range.up_to).collect::<Vec<_>>(), [last + 1, 1]);
        assert_eq!(to, head.frontier());
    }
}

//! Columns that stand under each other. Pure.

use super::paint::Paint;

/// A cell: what is measured, and what is done to it once it is padded.
#[derive(Debug)]
pub(super) struct Cell {
    text: String,
    paint: Option<crate::proto::v1::operation::State>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, paint: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// The name of a state, in its color.
    pub(super) fn state(state: crate::proto::v1::operation::State) -> Self {
        Self { text: super::describe::state_name(state).to_owned(), paint: Some(state) }
    }
}

/// Rows under headings. Columns keep their width from block to block, so that a list that comes
/// in pages stays one table.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    headings: [&'static str; N],
    widths: [usize; N],
    paint: Paint,
    begun: bool,
}

impl<const N: usize> Table<N> {
    /// A table with these columns.
    pub(super) fn new(headings: [&'static str; N], paint: Paint) -> Self {
        Self {
            headings,
            widths: headings.map(|heading| heading.chars().count()),
            paint,
            begun: false,
        }
    }

    /// The next rows as text without the last line's end, the headings before the first.
    pub(super) fn block(&mut self, rows: Vec<[Cell; N]>) -> String {
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if !std::mem::replace(&mut self.begun, true) {
            let headings = self.headings.map(Cell::from);
            lines.push(self.paint.bold(&self.row(&headings)));
        }
        lines.extend(rows.iter().map(|row| self.row(row)));
        lines.join("\n")
    }

    fn row(&self, cells: &[Cell; N]) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(self.widths).enumerate() {
            // Nothing follows the last column, so nothing needs to be kept out of its way.
            let width = if at + 1 == N { 0 } else { width };
            let padded = format!("{:width$}", cell.text);
            let painted = match cell.paint {
                Some(state) => self.paint.state(state, &padded),
                None => padded,
            };
            line.push_str(&painted);
            if at + 1 < N {
                line.push_str("  ");
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(["NAME", "STATE"], Paint::plain());
        let first = table.block(vec![["a".into(), "QUEUED".into()], ["bbbbbb".into(), "".into()]]);
        assert_eq!(first, "NAME    STATE\na       QUEUED\nbbbbbb");
        assert_eq!(table.block(vec![["c".into(), "d".into()]]), "c       d");
    }
}

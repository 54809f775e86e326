//! Aligned columns. Pure.

use super::paint::Paint;

/// A cell: its text, whose width counts, and the color that it gets after padding.
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

/// Rows under headings. Columns keep their width from block to block, so that the pages of a list
/// form one table.
#[derive(Debug)]
pub(super) struct Table {
    headings: Vec<&'static str>,
    widths: Vec<usize>,
    paint: Paint,
    begun: bool,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(headings: impl Into<Vec<&'static str>>, paint: Paint) -> Self {
        let headings = headings.into();
        Self {
            widths: headings.iter().map(|heading| heading.chars().count()).collect(),
            headings,
            paint,
            begun: false,
        }
    }

    /// The next rows as text without the last line's end, the headings before the first.
    pub(super) fn block(&mut self, rows: Vec<impl AsRef<[Cell]>>) -> String {
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row.as_ref()) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut lines = Vec::with_capacity(rows.len() + 1);
        if !std::mem::replace(&mut self.begun, true) {
            let headings: Vec<Cell> = self.headings.iter().copied().map(Cell::from).collect();
            lines.push(self.paint.bold(&self.row(&headings)));
        }
        lines.extend(rows.iter().map(|row| self.row(row.as_ref())));
        lines.join("\n")
    }

    fn row(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            // Nothing follows the last column, so nothing needs to be kept out of its way.
            let width = if at + 1 == cells.len() { 0 } else { *width };
            let padded = format!("{:width$}", cell.text);
            let painted = match cell.paint {
                Some(state) => self.paint.state(state, &padded),
                None => padded,
            };
            line.push_str(&painted);
            if at + 1 < cells.len() {
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

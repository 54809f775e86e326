//! Values of a statement, bound by number, and the differences between the dialects of SQL.

/// A dialect of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Names the index to use, if the dialect can.
    pub(in crate::store) fn through(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!("INDEXED BY {index}"),
            Self::Postgres => String::new(),
        }
    }

    /// The column by which a row is looked up fastest.
    pub(in crate::store) fn row(self) -> &'static str {
        match self {
            Self::Sqlite => "n",
            Self::Postgres => "id",
        }
    }

    /// A join that is run from left to right, if the dialect can express that.
    pub(in crate::store) fn join(self) -> &'static str {
        match self {
            Self::Sqlite => "CROSS JOIN",
            Self::Postgres => "JOIN",
        }
    }

    /// The end of a subquery that must run for each row and not become a join: PostgreSQL would plan for seconds with
    /// hundreds of joins.
    pub(in crate::store) fn keep_apart(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " OFFSET 0",
        }
    }
}

/// A value to bind.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Value {
    Number(i64),
    Text(String),
    Id([u8; 16]),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<[u8; 16]> for Value {
    fn from(id: [u8; 16]) -> Self {
        Self::Id(id)
    }
}

/// Values to bind, by number.
#[derive(Debug)]
pub(in crate::store) struct Params {
    dialect: Dialect,
    pub(in crate::store) values: Vec<Value>,
}

impl Params {
    pub(in crate::store) fn new(dialect: Dialect) -> Self {
        Self { dialect, values: Vec::new() }
    }

    pub(in crate::store) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Adds a value; returns the statement's reference to it.
    pub(in crate::store) fn add(&mut self, value: impl Into<Value>) -> String {
        let mut value = value.into();
        let number = self.values.len() + 1;
        let place = match (self.dialect, &mut value) {
            (Dialect::Sqlite, _) => format!("?{number}"),
            // With its type, because PostgreSQL would use the other side's smaller one.
            (Dialect::Postgres, Value::Number(_)) => format!("${number}::bigint"),
            (Dialect::Postgres, Value::Id(_)) => format!("${number}::uuid"),
            (Dialect::Postgres, Value::Text(text)) => {
                // PostgreSQL's texts cannot contain this character. Stored texts have no control characters, so another
                // one matches as little.
                if text.contains('\0') {
                    *text = text.replace('\0', "\u{1}");
                }
                format!("${number}::text")
            }
        };
        self.values.push(value);
        place
    }
}

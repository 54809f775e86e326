//! Values of a statement, bound by number, and the differences between the dialects of SQL.

/// A dialect of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Names the index to be used, where that can be said.
    pub(in crate::store) fn through(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!("INDEXED BY {index}"),
            Self::Postgres => String::new(),
        }
    }

    /// The column by which a row is found again at once.
    pub(in crate::store) fn row(self) -> &'static str {
        match self {
            Self::Sqlite => "n",
            Self::Postgres => "id",
        }
    }

    /// A join that goes from left to right, where that can be said.
    pub(in crate::store) fn join(self) -> &'static str {
        match self {
            Self::Sqlite => "CROSS JOIN",
            Self::Postgres => "JOIN",
        }
    }

    /// The end of a subquery that is to be asked for each row, not made a join of: PostgreSQL would plan
    /// for seconds when there are hundreds.
    pub(in crate::store) fn keep_apart(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " OFFSET 0",
        }
    }
}

/// A value to be bound.
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

/// Values to be bound, by number.
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

    /// Adds a value and answers how a statement refers to it.
    pub(in crate::store) fn add(&mut self, value: impl Into<Value>) -> String {
        let mut value = value.into();
        let number = self.values.len() + 1;
        let place = match (self.dialect, &mut value) {
            (Dialect::Sqlite, _) => format!("?{number}"),
            // The type is said, because PostgreSQL would take that of the other side, which is smaller.
            (Dialect::Postgres, Value::Number(_)) => format!("${number}::bigint"),
            (Dialect::Postgres, Value::Id(_)) => format!("${number}::uuid"),
            (Dialect::Postgres, Value::Text(text)) => {
                // PostgreSQL has no text with this character. What is stored has no control
                // characters, so another one is found as little.
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

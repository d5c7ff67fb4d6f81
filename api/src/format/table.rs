//! Pure. The table of operators: one row for each name in Envoy's documentation, and what a row allows.

use super::argument::Read;
use super::operator::Operator;
use super::{FormatError, Place, connection, request};

/// One operator.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it may have in parentheses: nothing, or an example of it.
    pub argument: Argument,
    /// A length may cut its value.
    pub length: bool,
    /// Where it may stand.
    pub allowed: Allowed,
    /// Of what kind of traffic it has a value; a log of the other kind has a dash there.
    pub seen: Seen,
    /// What it stands for.
    pub meaning: Meaning,
}

/// What an operator may have in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// Nothing, or something like this.
    Optional(&'static str),
    /// Something like this.
    Required(&'static str),
}

/// Where an operator may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// In logs, values of headers and bodies of answers.
    Everywhere,
    /// In logs alone: its value is known at the end.
    Log,
}

/// Of what kind of traffic an operator has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Both.
    Both,
    /// HTTP alone.
    Http,
    /// TCP alone.
    Tcp,
}

/// What an operator stands for.
#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// A value, which its argument may choose.
    Value(fn(&str, Place) -> Read),
    /// Nothing that is ever there, for this reason: a dash.
    Nothing(&'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

/// All operators, in the order of their kinds.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    request::ROWS.iter().chain(connection::ROWS)
}

/// The operator of a name.
pub fn row(name: &str) -> Option<&'static Row> {
    rows().find(|row| row.name == name)
}

impl Row {
    /// An operator of this name as users write it.
    pub fn example(&self) -> String {
        match self.argument {
            Argument::None => format!("%{}%", self.name),
            Argument::Optional(argument) | Argument::Required(argument) => {
                format!("%{}({argument})%", self.name)
            }
        }
    }

    /// Why it is refused in any place.
    pub fn refusal(&self) -> Option<&'static str> {
        match self.meaning {
            Meaning::Refused(reason) => Some(reason),
            Meaning::Value(_) | Meaning::Nothing(_) => None,
        }
    }

    pub(super) fn read(
        &self,
        written: &str,
        argument: &str,
        longest: Option<usize>,
        place: Place,
    ) -> Result<Operator, FormatError> {
        let operator = || written.to_owned();
        let wrong = |reason: String| FormatError::Argument { operator: operator(), reason };
        if let Meaning::Refused(reason) = self.meaning {
            return Err(FormatError::Refused { operator: operator(), reason });
        }
        match self.argument {
            Argument::None if !argument.is_empty() => {
                return Err(wrong("takes nothing in parentheses".into()));
            }
            Argument::Required(example) if argument.is_empty() => {
                return Err(wrong(format!(
                    "takes something in parentheses, such as {}({example})",
                    self.name
                )));
            }
            _ => {}
        }
        if longest.is_some() && !self.length {
            return Err(wrong("takes no length".into()));
        }
        if place != Place::Log && self.allowed == Allowed::Log {
            return Err(FormatError::Misplaced { operator: operator(), reason: LOGS_ALONE });
        }
        match self.meaning {
            Meaning::Value(read) => read(argument, place).map_err(wrong),
            Meaning::Nothing(_) | Meaning::Refused(_) => Ok(Operator::Nothing),
        }
    }
}

const LOGS_ALONE: &str = "can stand in access logs alone";

/// An operator without an argument.
pub(super) const fn plain(
    name: &'static str,
    allowed: Allowed,
    seen: Seen,
    read: fn(&str, Place) -> Read,
) -> Row {
    Row { name, argument: Argument::None, length: false, allowed, seen, meaning: Meaning::Value(read) }
}

/// An operator with an argument.
pub(super) const fn with(
    name: &'static str,
    argument: Argument,
    (allowed, seen): (Allowed, Seen),
    read: fn(&str, Place) -> Read,
) -> Row {
    Row { name, argument, length: false, allowed, seen, meaning: Meaning::Value(read) }
}

/// An operator with an argument, whose value may be cut.
pub(super) const fn cut(
    name: &'static str,
    argument: Argument,
    (allowed, seen): (Allowed, Seen),
    read: fn(&str, Place) -> Read,
) -> Row {
    Row { name, argument, length: true, allowed, seen, meaning: Meaning::Value(read) }
}

/// An operator that has no value here. It is accepted in logs, where formats that were made for other proxies hold it.
pub(super) const fn nothing(name: &'static str, argument: Argument, reason: &'static str) -> Row {
    let length = !matches!(argument, Argument::None);
    Row { name, argument, length, allowed: Allowed::Log, seen: Seen::Both, meaning: Meaning::Nothing(reason) }
}

/// An operator that is refused.
pub(super) const fn refused(name: &'static str, argument: Argument, reason: &'static str) -> Row {
    Row {
        name,
        argument,
        length: true,
        allowed: Allowed::Log,
        seen: Seen::Both,
        meaning: Meaning::Refused(reason),
    }
}

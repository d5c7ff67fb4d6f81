//! Pure. A row of the table of operators: how one is written, where it may stand, and what it means.

use super::error::FormatError;
use super::operator::Operator;
use super::place::Place;

/// An operator with its argument, or what is wrong with the argument, to be read after "which".
pub(super) type Read = Result<Operator, String>;

/// Finds an operator's row by its name.
pub(super) type Lookup = fn(&str) -> Option<&'static Row>;

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
    /// The value of one of the operators that its argument names.
    OfOthers(fn(&str, Place, Lookup) -> Read),
    /// Nothing that is ever there, for this reason: a dash.
    Nothing(&'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
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
            Meaning::Value(_) | Meaning::OfOthers(_) | Meaning::Nothing(_) => None,
        }
    }

    pub(super) fn read(
        &self,
        written: &str,
        argument: &str,
        longest: Option<usize>,
        place: Place,
        lookup: Lookup,
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
            Meaning::OfOthers(read) => read(argument, place, lookup).map_err(wrong),
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

/// An operator whose argument names others.
pub(super) const fn of_others(
    name: &'static str,
    argument: Argument,
    (allowed, seen): (Allowed, Seen),
    read: fn(&str, Place, Lookup) -> Read,
) -> Row {
    Row { name, argument, length: true, allowed, seen, meaning: Meaning::OfOthers(read) }
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

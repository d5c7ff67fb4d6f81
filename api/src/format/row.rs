//! Pure. A row of the table of operators: an operator's syntax, where it is allowed, and its meaning.

use super::error::FormatError;
use super::operator::Operator;
use super::place::Place;

/// A parsed operator, or the reason why its argument is invalid, which continues a sentence after "which".
pub(super) type Read = Result<Operator, String>;

/// Finds an operator's row by its name.
pub(super) type Lookup = fn(&str) -> Option<&'static Row>;

/// One operator.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Whether it takes an argument, with an example.
    pub argument: Argument,
    /// Whether a maximum length is allowed.
    pub length: bool,
    /// Where it is allowed.
    pub allowed: Allowed,
    /// The traffic for which it has a value; logs of other traffic show a dash.
    pub traffic: AllowedTraffic,
    /// Its meaning.
    pub meaning: Meaning,
}

/// Whether an operator takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// No argument.
    None,
    /// An optional argument, with an example.
    Optional(&'static str),
    /// A required argument, with an example.
    Required(&'static str),
}

/// Where an operator is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// In access logs, header values and local replies.
    Everywhere,
    /// Only in access logs: the value is known only at the end.
    Log,
}

/// The traffic for which an operator has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedTraffic {
    /// Both.
    Both,
    /// Only HTTP.
    Http,
    /// Only TCP.
    Tcp,
}

/// The meaning of an operator.
#[derive(Debug, Clone, Copy)]
pub enum Meaning {
    /// A value, which may depend on its argument.
    Value(fn(&str, Place) -> Read),
    /// The value of one of the operators in its argument.
    OfOthers(fn(&str, Place, Lookup) -> Read),
    /// Never a value, for this reason; logs show a dash.
    Nothing(&'static str),
    /// Refused, for this reason.
    Refused(&'static str),
}

impl Row {
    /// An example of the operator.
    pub fn example(&self) -> String {
        match self.argument {
            Argument::None => format!("%{}%", self.name),
            Argument::Optional(argument) | Argument::Required(argument) => {
                format!("%{}({argument})%", self.name)
            }
        }
    }

    /// Why it is refused everywhere.
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
    traffic: AllowedTraffic,
    read: fn(&str, Place) -> Read,
) -> Row {
    Row { name, argument: Argument::None, length: false, allowed, traffic, meaning: Meaning::Value(read) }
}

/// An operator with an argument.
pub(super) const fn with(
    name: &'static str,
    argument: Argument,
    (allowed, traffic): (Allowed, AllowedTraffic),
    read: fn(&str, Place) -> Read,
) -> Row {
    Row { name, argument, length: false, allowed, traffic, meaning: Meaning::Value(read) }
}

/// An operator with an argument and an optional maximum length.
pub(super) const fn cut(
    name: &'static str,
    argument: Argument,
    (allowed, traffic): (Allowed, AllowedTraffic),
    read: fn(&str, Place) -> Read,
) -> Row {
    Row { name, argument, length: true, allowed, traffic, meaning: Meaning::Value(read) }
}

/// An operator whose argument contains other operators.
pub(super) const fn of_others(
    name: &'static str,
    argument: Argument,
    (allowed, traffic): (Allowed, AllowedTraffic),
    read: fn(&str, Place, Lookup) -> Read,
) -> Row {
    Row { name, argument, length: true, allowed, traffic, meaning: Meaning::OfOthers(read) }
}

/// An operator that never has a value here. Access logs accept it, because formats written for Envoy contain it.
pub(super) const fn nothing(name: &'static str, argument: Argument, reason: &'static str) -> Row {
    let length = !matches!(argument, Argument::None);
    Row {
        name,
        argument,
        length,
        allowed: Allowed::Log,
        traffic: AllowedTraffic::Both,
        meaning: Meaning::Nothing(reason),
    }
}

/// An operator that is refused.
pub(super) const fn refused(name: &'static str, argument: Argument, reason: &'static str) -> Row {
    Row {
        name,
        argument,
        length: true,
        allowed: Allowed::Log,
        traffic: AllowedTraffic::Both,
        meaning: Meaning::Refused(reason),
    }
}

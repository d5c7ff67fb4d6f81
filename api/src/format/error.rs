//! Pure. What is wrong with a text with operators.

/// What is wrong with a text. Each message says what the text has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A `%` that nothing closes.
    #[error("has an operator without its second %")]
    Unclosed,
    /// An operator that does not exist.
    #[error("has an operator that is not supported by this version: %{0}%")]
    Unknown(String),
    /// An operator of Envoy's that this version refuses.
    #[error("has an operator that is not supported by this version: %{operator}% ({reason})")]
    Refused {
        /// As it is written.
        operator: String,
        /// Why.
        reason: &'static str,
    },
    /// An operator whose argument or length is wrong.
    #[error("has the operator %{operator}%, which {reason}")]
    Argument {
        /// As it is written.
        operator: String,
        /// What is wrong.
        reason: String,
    },
    /// An operator that has no value where the text stands.
    #[error("has the operator %{operator}%, which {reason}")]
    Misplaced {
        /// As it is written.
        operator: String,
        /// Where it may stand instead.
        reason: &'static str,
    },
}

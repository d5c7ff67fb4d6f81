//! Pure. Why a format string is invalid.

/// Why a format string is invalid. The messages continue a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// An operator without its closing `%`.
    #[error("has an operator without its second %")]
    Unclosed,
    /// An operator that does not exist.
    #[error("has an operator that is not supported by this version: %{0}%")]
    Unknown(String),
    /// An operator of Envoy that this version refuses.
    #[error("has an operator that is not supported by this version: %{operator}% ({reason})")]
    Refused {
        /// The operator as written.
        operator: String,
        /// The reason.
        reason: &'static str,
    },
    /// An operator with an invalid argument or length.
    #[error("has the operator %{operator}%, which {reason}")]
    Argument {
        /// The operator as written.
        operator: String,
        /// The reason.
        reason: String,
    },
    /// An operator that is not allowed where the format string is used.
    #[error("has the operator %{operator}%, which {reason}")]
    Misplaced {
        /// The operator as written.
        operator: String,
        /// Where it is allowed.
        reason: &'static str,
    },
}

//! Pure. The parts of a template.

/// A template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template(pub Vec<Piece>);

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text that is printed as it is.
    Text(String),
    /// A path, whose values are printed with spaces between them.
    Path(Path),
    /// Parts that are printed for each value of a path.
    Range(Path, Vec<Piece>),
}

/// Steps from the current value to others.
pub type Path = Vec<Step>;

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `.name`
    Field(String),
    /// `.*` and `[*]`
    Wildcard,
    /// `..`: the value and everything in it.
    Recursive,
    /// `[start:end:step]`; an index is a slice of one.
    Slice(Slice),
    /// `['a','b']` and `[0,2]`
    Union(Vec<Path>),
    /// `[?(@.a == "b")]`
    Filter(Filter),
}

/// Which elements of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The first; from the end where negative.
    pub start: Option<i64>,
    /// The first that is left out.
    pub end: Option<i64>,
    /// How far to the next.
    pub step: i64,
    /// Whether one element is named, which must be there.
    pub single: bool,
}

/// A condition on the elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The left side.
    pub left: Operand,
    /// The comparison with its right side; without one the left side must have a value.
    pub comparison: Option<(Comparison, Operand)>,
}

/// A side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A path from the element.
    Path(Path),
    /// A text, a number, `true` or `false`.
    Literal(serde_json::Value),
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

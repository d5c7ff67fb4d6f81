//! Pure. The syntax tree of a JSONPath template.

/// A template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template(pub Vec<Piece>);

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text that is printed unchanged.
    Text(String),
    /// A path. Its values are printed with spaces between them.
    Path(Path),
    /// Pieces that are printed for each value of a path.
    Range(Path, Vec<Piece>),
}

/// Steps from the current value to the selected values.
pub type Path = Vec<Step>;

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `.name`
    Field(String),
    /// `.*` and `[*]`
    Wildcard,
    /// `..`: the value and all values nested in it.
    Recursive,
    /// `[start:end:step]`; an index is a slice of one element.
    Slice(Slice),
    /// `['a','b']` and `[0,2]`
    Union(Vec<Path>),
    /// `[?(@.a == "b")]`
    Filter(Filter),
}

/// A range of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Index of the first element; negative values count from the end.
    pub start: Option<i64>,
    /// Index after the last element.
    pub end: Option<i64>,
    /// Distance between elements.
    pub step: i64,
    /// Whether this is an index, so that the element must exist.
    pub single: bool,
}

/// A condition on the elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The left side.
    pub left: Operand,
    /// The comparison and its right side; without them, the left side must select a value.
    pub comparison: Option<(Comparison, Operand)>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A path that starts at the element.
    Path(Path),
    /// A string, a number, `true` or `false`.
    Literal(serde_json::Value),
}

/// A comparison operator.
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

//! Compares the constants that limit something with docs/limits.md. Finds a limit that no row of the page states, such
//! as one that was added or changed. A row states a constant if it names the constant's file and contains its value.

use std::path::Path;
use std::sync::LazyLock;

use syn::{BinOp, Expr, Item, ItemConst, Lit, Type};

use crate::source::{WORKSPACE, read, root};

/// Words of the names of constants that limit something.
const WORDS: &[&str] = &["MAX", "LIMIT", "MOST", "LONGEST", "LARGEST", "TIMEOUT"];
/// The crates that users and operators run.
const CRATES: &[&str] = &["api", "kubernetes", "proxy", "pilot", "citadel", "injector", "cli"];

/// Constants that are stated by a row that names a flag or a field instead of their file, with the row's first cell.
const ELSEWHERE: &[(&str, &str)] = &[
    ("api/src/process/serve/mod.rs DRAIN_LIMIT", "shutdown"),
    ("api/src/process/serve/mod.rs HEADER_LIMIT", "between two requests"),
    ("api/src/process/serve/mod.rs KEEP_ALIVE_TIMEOUT", "HTTP/2 pings"),
    ("api/src/wire/cluster.rs CONNECT_TIMEOUT", "time to connect"),
    ("api/src/wire/outlier.rs LONGEST", "outlier detection"),
    ("api/src/wire/outlier.rs MAX_PERCENT", "outlier detection"),
    ("citadel/src/limit.rs MAX_IDENTITIES", "requests of an identity"),
    ("pilot/src/validate/destination_rule.rs MAX_MAGLEV", "hash ring, Maglev table"),
    ("pilot/src/validate/destination_rule.rs MAX_RING", "hash ring, Maglev table"),
    ("pilot/src/validate/mesh_config.rs MAX_CONNECT_TIMEOUT", "time to connect"),
    ("pilot/src/validate/virtual_service/http.rs MAX_BODY", "direct response body"),
    ("pilot/src/validate/virtual_service/retry.rs MAX_ATTEMPTS", "attempts in a VirtualService"),
    ("proxy/src/balance/consistent.rs MAX_SIZE", "hash ring, Maglev table"),
    ("proxy/src/config/mod.rs MAX_CONCURRENCY", "worker threads"),
];

/// Constants that users and operators do not meet, by the reason.
const INTERNAL: &[(&str, &[&str])] = &[
    (
        "the length of a text or list in a message, a log line or a dump",
        &[
            "api/src/identity/mod.rs MAX_SHOWN",
            "api/src/process/ask.rs MAX_REASON",
            "api/src/resource/kind/kubernetes/ingress.rs MOST_HOSTS",
            "api/src/resource/parse/mod.rs MAX_LOCATED",
            "citadel/src/authenticate/review/verdict.rs MAX_REASON",
            "cli/src/check/finding.rs MOST",
            "cli/src/check/readiness.rs LONGEST",
            "cli/src/manifest/object.rs LONGEST",
            "pilot/src/serve/replica/mod.rs MAX_NAMED",
            "pilot/src/serve/stream.rs MAX_USER_AGENT",
            "proxy/src/credentials/verify.rs MAX_SHOWN",
            "proxy/src/telemetry/access_log/text.rs MOST_DIGITS",
        ],
    ),
    (
        "a limit of Kubernetes, the kernel or a protocol",
        &[
            "api/src/process/dns/message.rs LARGEST",
            "api/src/process/dns/server.rs MAX_UDP",
            "api/src/resource/selector/label.rs LONGEST",
            "api/src/wire/route.rs ENVOYS_LARGEST_BODY",
            "cli/src/inside/host_listen.rs MAX_REQUEST",
            "cli/src/up/host.rs MAX_RESPONSE",
            "pilot/src/webhook/review.rs MAX_PREFIX",
            "proxy/src/identify/sniff.rs MAX_METHOD",
            "proxy/src/identify/sniff.rs MAX_RECORD",
            "proxy/src/lookup/server.rs MAX_UDP",
            "proxy/src/redirect/settings.rs MAX_INTERFACE_NAME",
        ],
    ),
    (
        "stated in another unit",
        &["api/src/resource/weight.rs MAX_WEIGHT", "proxy/src/credentials/session.rs LONGEST"],
    ),
    (
        "one of several requests or steps that together have a documented limit",
        &[
            "cli/src/client/cluster/verdict.rs LONGEST",
            "cli/src/up/plane.rs SETTLE_LIMIT",
            "proxy/src/redirect/verify.rs MOST_WAITS",
        ],
    ),
    ("an optimisation", &["pilot/src/catalog/shared_map.rs LARGEST", "proxy/src/http1/buffer.rs LARGEST"]),
];

/// A constant that limits something.
struct Limit {
    /// Its file and name.
    name: String,
    file: String,
    /// The ways to write its value; empty if the value cannot be evaluated.
    texts: Vec<String>,
}

#[test]
fn every_limit_is_in_the_documentation() {
    let page = read(&root().join("docs/limits.md"));
    let rows: Vec<Vec<&str>> = page.lines().filter_map(cells).collect();
    let stated = |limit: &Limit| {
        let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == limit.name).map(|(_, title)| *title);
        rows.iter().any(|row| match elsewhere {
            Some(title) => row[0] == title && states(row, &limit.texts),
            None => row.iter().any(|cell| names(cell, &limit.file)) && states(row, &limit.texts),
        })
    };
    let internal = |limit: &Limit| INTERNAL.iter().any(|(_, all)| all.contains(&limit.name.as_str()));
    let missing: Vec<String> = LIMITS
        .iter()
        .filter(|limit| !internal(limit) && !stated(limit))
        .map(|limit| format!("{}: {}", limit.name, limit.texts.join(" or ")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/limits.md has no row that names the file and contains the value (exceptions: {}):\n{}",
        file!(),
        missing.join("\n")
    );
}

#[test]
fn every_exception_is_a_limit() {
    let listed = ELSEWHERE.iter().map(|(name, _)| *name);
    let listed = listed.chain(INTERNAL.iter().flat_map(|(_, names)| names.iter().copied()));
    let unknown: Vec<&str> = listed.filter(|name| !LIMITS.iter().any(|limit| limit.name == *name)).collect();
    assert!(unknown.is_empty(), "no such constants: {unknown:?}");
}

static LIMITS: LazyLock<Vec<Limit>> = LazyLock::new(|| {
    let crates = WORKSPACE.iter().filter(|of| CRATES.contains(&of.name));
    let modules = crates.flat_map(|of| &of.modules).filter(|module| module.text.contains("const "));
    modules
        .flat_map(|module| {
            let file = syn::parse_file(&module.text).expect("the compiler has parsed the file");
            file.items.into_iter().filter_map(|item| match item {
                Item::Const(constant) if limits(&constant) => Some(Limit {
                    name: format!("{} {}", module.file, constant.ident),
                    file: module.file.clone(),
                    texts: value(&constant.expr).map(Value::texts).unwrap_or_default(),
                }),
                _ => None,
            })
        })
        .collect()
});

/// Whether a constant is a number or a duration whose name says that it limits something.
fn limits(constant: &ItemConst) -> bool {
    let Type::Path(of) = &*constant.ty else { return false };
    let of = of.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    let is_amount =
        ["Duration", "usize", "u64", "u32", "u16", "u8", "i64", "i32", "f64"].contains(&of.as_str());
    is_amount && constant.ident.to_string().split('_').any(|word| WORDS.contains(&word))
}

/// A value of a constant: a number, or milliseconds.
#[derive(Clone, Copy)]
struct Value {
    amount: f64,
    is_duration: bool,
}

impl Value {
    /// The ways in which the page writes it.
    fn texts(self) -> Vec<String> {
        let in_unit = |(unit, size): (&str, f64)| {
            let amount = self.amount / size;
            // A thousandth of a unit is written in the next smaller unit.
            (amount * 1000.0).fract().abs().lt(&1e-9).then(|| format!("{} {unit}", separated(amount)))
        };
        if self.is_duration {
            let day = 24.0 * 3_600_000.0;
            let units =
                [("ms", 1.0), ("s", 1000.0), ("min", 60_000.0), ("h", 3_600_000.0), ("years", 365.0 * day)];
            return units.into_iter().filter_map(in_unit).collect();
        }
        let sizes = [("KiB", 1024.0), ("MiB", 1024.0 * 1024.0)].into_iter().filter_map(in_unit);
        [separated(self.amount)].into_iter().chain(sizes).collect()
    }
}

/// A number with commas between groups of three digits.
fn separated(number: f64) -> String {
    let text = number.to_string();
    let (whole, rest) = text.find('.').map_or((text.as_str(), ""), |at| text.split_at(at));
    let digits: Vec<char> = whole.chars().collect();
    let groups: Vec<String> = digits.rchunks(3).rev().map(|group| group.iter().collect()).collect();
    groups.join(",") + rest
}

fn value(expression: &Expr) -> Option<Value> {
    match expression {
        Expr::Lit(literal) => {
            let amount = match &literal.lit {
                Lit::Int(number) => number.base10_parse().ok()?,
                Lit::Float(number) => number.base10_parse().ok()?,
                _ => return None,
            };
            Some(Value { amount, is_duration: false })
        }
        Expr::Paren(inner) => value(&inner.expr),
        Expr::Binary(binary) => {
            let (left, right) = (value(&binary.left)?, value(&binary.right)?);
            let amount = match binary.op {
                BinOp::Add(_) => left.amount + right.amount,
                BinOp::Sub(_) => left.amount - right.amount,
                BinOp::Mul(_) => left.amount * right.amount,
                BinOp::Shl(_) => left.amount * right.amount.exp2(),
                _ => return None,
            };
            Some(Value { amount, is_duration: left.is_duration })
        }
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else { return None };
            let size = match function.path.segments.last()?.ident.to_string().as_str() {
                "from_millis" => 1.0,
                "from_secs" => 1000.0,
                "from_mins" | "minutes" => 60_000.0,
                "from_hours" => 3_600_000.0,
                "days" => 24.0 * 3_600_000.0,
                _ => return None,
            };
            Some(Value { amount: value(call.args.first()?)?.amount * size, is_duration: true })
        }
        _ => None,
    }
}

/// The cells of a table's row.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(str::trim).collect())
}

/// Whether a cell names a file, or a folder that contains it. Folders may be left out at the beginning of the name, and
/// `.rs` at its end.
fn names(cell: &str, file: &str) -> bool {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| span.contains('/') || Path::new(span).extension().is_some_and(|end| end == "rs"))
        .any(|span| {
            let file = format!("/{file}");
            let own = format!("/{span}");
            file.ends_with(&own) || file.ends_with(&format!("{own}.rs")) || file.contains(&format!("{own}/"))
        })
}

/// Whether a row contains one of the texts, and not as a part of a longer number.
fn states(row: &[&str], texts: &[String]) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
    texts.iter().any(|text| {
        row.iter().any(|cell| {
            cell.match_indices(text.as_str()).any(|(at, _)| {
                let after = &cell[at + text.len()..];
                let goes_on =
                    after.strip_prefix([',', '.']).unwrap_or(after).starts_with(|c: char| c.is_ascii_digit());
                !cell[..at].ends_with(is_part) && !goes_on && !after.starts_with(char::is_alphabetic)
            })
        })
    })
}

#[test]
fn a_value_is_found_in_the_forms_of_the_page() {
    for (constant, row, found) in [
        ("4 << 20", "4 MiB, 100 levels", true),
        ("4 << 20", "14 MiB", false),
        ("64 * 1024", "64 KiB", true),
        ("1_000", "1,000 aliases", true),
        ("1000", "1,000,000", false),
        ("100", "at most 100, then", true),
        ("100", "0.100", false),
        ("Duration::from_millis(100)", "every 0.1 s", true),
        ("Duration::from_millis(250)", "within 250 ms", true),
        ("Duration::from_mins(5)", "5 min", true),
        ("Duration::from_secs(24 * 3600)", "24 h", true),
        ("Duration::from_secs(5)", "15 s", false),
        ("Duration::from_secs(5)", "5 shards", false),
        ("Duration::days(3650)", "10 years", true),
        ("2 * SIZE", "2", false),
    ] {
        let expression = syn::parse_str(constant).unwrap();
        let texts = value(&expression).map(Value::texts).unwrap_or_default();
        assert_eq!(states(&[row], &texts), found, "{constant}: {row}, written as {texts:?}");
    }
}

#[test]
fn a_cell_names_files_and_folders() {
    for (cell, named) in [
        ("`serve/mod.rs`", true),
        ("`pilot/src/serve/mod.rs`", true),
        ("`pilot/src/serve`, `x.rs`", true),
        ("`serve/mod`", true),
        ("`other/serve/mod.rs`", false),
        ("`--serve`", false),
        ("serve/mod.rs", false),
    ] {
        assert_eq!(names(cell, "pilot/src/serve/mod.rs"), named, "{cell}");
    }
}

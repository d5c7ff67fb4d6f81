//! Templates and their output, most of them from kubectl's documentation.

use serde_json::{Value, json};

use super::eval::{compare, find, print, render};
use super::parse::{relaxed, template};

fn list() -> Value {
    json!({"kind": "List", "items": [
        {"kind": "None", "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
            "status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}], "ready": true}},
        {"kind": "None", "metadata": {"name": "127.0.0.2", "labels": {"kubernetes.io/hostname": "127.0.0.2"}},
            "status": {"capacity": {"cpu": "8"}, "addresses": [
                {"type": "LegacyHostIP", "address": "127.0.0.2"}, {"type": "another", "address": "127.0.0.3"}], "restarts": 3}},
    ], "users": [
        {"name": "myself", "user": {}},
        {"name": "e2e", "user": {"username": "admin", "password": "secret"}},
    ]})
}

fn printed(text: &str) -> Result<String, String> {
    let template = template(text).map_err(|error| error.to_string())?;
    render(&template, &list()).map_err(|error| error.to_string())
}

#[test]
fn templates_print_what_kubectl_prints() {
    let cases = [
        ("", ""),
        ("hello", "hello"),
        ("kind is {.kind}", "kind is List"),
        ("{.kind}", "List"),
        ("{$.kind}", "List"),
        ("{@.kind}", "List"),
        ("{['kind']}", "List"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.items[0].metadata.name}", "127.0.0.1"),
        ("{.items[-1].metadata.name}", "127.0.0.2"),
        ("{.items[0:1].metadata.name}", "127.0.0.1"),
        ("{.items[-1:].metadata.name}", "127.0.0.2"),
        ("{.items[::2].metadata.name}", "127.0.0.1"),
        ("{.users[0,1].name}", "myself e2e"),
        ("{.users.*.name}", "myself e2e"),
        (
            "{.items[*]['metadata.name', 'status.capacity']}",
            "127.0.0.1 127.0.0.2 {\"cpu\":\"4\"} {\"cpu\":\"8\"}",
        ),
        ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
        ("{.users[?(@.name=='e2e')].user.password}", "secret"),
        ("{.users[?(@.name!='e2e')].name}", "myself"),
        ("{.users[?(@.user.password)].name}", "e2e"),
        ("{.items[?(@.status.restarts>2)].metadata.name}", "127.0.0.2"),
        ("{.items[?(@.status.restarts<=2)].metadata.name}", ""),
        ("{.items[?(@.status.ready==true)].metadata.name}", "127.0.0.1"),
        ("{.items[*].status.addresses[?(@.type=='another')].address}", "127.0.0.3"),
        (
            "{range .items[*]}[{.metadata.name}, {.status.capacity.cpu}] {end}",
            "[127.0.0.1, 4] [127.0.0.2, 8] ",
        ),
        (
            "{range .items[*]}{.metadata.name}{range .status.addresses[*]} {.address}{end}{\"\\n\"}{end}",
            "127.0.0.1 127.0.0.1\n127.0.0.2 127.0.0.2 127.0.0.3\n",
        ),
        ("{range .items[*]}{.metadata.name}{'\\t'}{end}", "127.0.0.1\t127.0.0.2\t"),
        ("{.items[0].metadata.labels.kubernetes\\.io/hostname}", "127.0.0.1"),
        ("{.items[0].metadata.labels['kubernetes\\.io/hostname']}", "127.0.0.1"),
        ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
        ("{.items..cpu}", "4 8"),
        ("{.none.at.all}", ""),
        ("{.items[0].none}x", "x"),
        ("{.users[0]}", "{\"name\":\"myself\",\"user\":{}}"),
        ("{.kind}{\" \"}{.users[1].name}", "List e2e"),
        ("{.users[?(@.name == \"a]b}c\")].name}", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(printed(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn malformed_templates_are_refused() {
    for text in [
        "{.kind",
        "{.items[0}",
        "{end}",
        "{range .items[*]}",
        "{.items[a]}",
        "{.items[1:2:3:4]}",
        "{.items[::0]}",
        "{.users[?(x)]}",
        "{(}",
        "{\"a}",
    ] {
        assert!(template(text).is_err(), "{text}");
    }
    for text in ["{.items[7].kind}", "{.kind[0]}", "{.items[?(@.status.restarts>'x')].kind}"] {
        assert!(printed(text).is_err(), "{text}");
    }
}

#[test]
fn a_relaxed_path_needs_no_braces_and_no_dot() {
    for text in ["{.kind}", ".kind", "kind", "{kind}", "$.kind"] {
        let path = relaxed(text).unwrap();
        let list = list();
        let found: Vec<String> = find(&path, &list).unwrap().into_iter().map(print).collect();
        assert_eq!(found, ["List"], "{text}");
    }
    assert!(relaxed("{.kind").is_err());
}

#[test]
fn numbers_in_strings_are_sorted_as_numbers() {
    let cases = [("web-2", "web-10"), ("a", "b"), ("a1", "a01b"), ("", "a"), ("a", "a1")];
    for (less, more) in cases {
        assert!(compare(&json!(less), &json!(more)).unwrap().is_lt(), "{less} {more}");
    }
    assert!(compare(&json!(2), &json!(10)).unwrap().is_lt());
    assert_eq!(compare(&json!(2), &json!("a")), None);
}

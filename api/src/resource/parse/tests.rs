//! Tables of accepted texts, and of refused texts with their messages.
#![expect(clippy::too_many_lines, reason = "tables are long")]

use super::*;
use crate::resource::kind::Body;
use proptest::prelude::*;
use std::fmt::Write;

fn refusals(text: &str) -> Vec<String> {
    parse("a.yaml", text).refusals.iter().map(ToString::to_string).collect()
}

fn names(text: &str) -> Vec<String> {
    let parsed = parse("a.yaml", text);
    assert_eq!(parsed.refusals, [], "{text}");
    parsed.documents.iter().map(|d| format!("{} {}", d.place, d.object.key)).collect()
}

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n";

#[test]
fn documents_keep_their_lines_and_empty_ones_are_skipped() {
    let text =
        format!("# a comment\n---\n---\n{NAMESPACE}---\n# only a comment\n--- # the last\n{NAMESPACE}");
    assert_eq!(names(&text), ["a.yaml:4 Namespace shop", "a.yaml:11 Namespace shop"]);
    assert_eq!(names(""), [""; 0]);
    assert_eq!(names("\n\n# nothing\n---\n"), [""; 0]);
}

#[test]
fn lists_are_expanded_and_namespaces_default() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n\
                - apiVersion: v1\n  kind: ServiceList\n  items:\n  - apiVersion: v1\n    kind: Service\n    \
                metadata: {name: b, namespace: shop}\n";
    assert_eq!(names(text), ["a.yaml:1 Service default/a", "a.yaml:1 Service shop/b"]);
}

#[test]
fn a_list_without_items_is_refused() {
    for text in ["kind: List", "apiVersion: v1\nkind: List\nitems: none", "{kind: PodList, items: null}"] {
        assert_eq!(refusals(text).len(), 1, "{text}");
    }
}

#[test]
fn json_is_read_with_and_without_tabs() {
    let tidy = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}"#;
    assert_eq!(names(tidy), ["a.yaml:1 Service default/a"]);
    assert_eq!(names(&tidy.replace(", ", ",\n\t")), ["a.yaml:1 Service default/a"]);
}

#[test]
fn every_version_of_a_mesh_kind_is_read() {
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let text = format!(
            "apiVersion: networking.istio.io/{version}\nkind: VirtualService\nmetadata: {{name: a}}\n\
             spec: {{hosts: [a], http: [{{route: [{{destination: {{host: a}}}}]}}]}}"
        );
        assert_eq!(names(&text), ["a.yaml:1 VirtualService default/a"]);
    }
}

#[test]
fn a_refusal_names_file_line_object_field_reason_and_advice() {
    let table = [
        ("kind: [", "a.yaml:1: malformed YAML: "),
        ("just text", "a.yaml:1: the document is not an object; begin it with apiVersion and kind"),
        ("kind: Pod", "a.yaml:1: Pod: apiVersion: is missing; say which API the kind belongs to"),
        ("apiVersion: v1", "a.yaml:1: kind: is missing; say what kind of object this is"),
        (
            "apiVersion: v1\nkind: Widget\nmetadata: {name: w}",
            "a.yaml:2: Widget w: kind: kind Widget of v1 is not known; correct apiVersion and kind",
        ),
        (
            "apiVersion: v1\nkind: Deployment\nmetadata: {name: w}",
            "a.yaml:1: Deployment w: apiVersion: kind Deployment of v1 is not known; write apps/v1",
        ),
        (
            "apiVersion: networking.istio.io/v2\nkind: Gateway\nmetadata: {name: w}",
            "a.yaml:1: Gateway w: apiVersion: kind Gateway of networking.istio.io/v2 does not exist; write \
             networking.istio.io/v1 or networking.istio.io/v1beta1 or networking.istio.io/v1alpha3",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: ns}",
            "a.yaml:2: AuthorizationPolicy ns/p: kind: kind AuthorizationPolicy of security.istio.io/v1 is not \
             supported by this version; do not rely on it: ",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualServices\nmetadata: {name: p}",
            "a.yaml:2: VirtualServices p: kind: kind VirtualServices of networking.istio.io/v1 is not known; did you mean \
             VirtualService?",
        ),
        (
            "\n\napiVersion: v1\nkind: Service\nmetadata: {}",
            "a.yaml:5: Service: metadata.name: is missing; give the object a name",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: n}",
            "a.yaml:3: Service: metadata.name: is not a string; put it in quotes",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: A_b}",
            "a.yaml:3: Service default/A_b: metadata.name: `A_b` is not a valid name: it may contain a-z, 0-9, '-' and '.'; \
             rename the object",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: a.b}",
            "a.yaml:3: Service a.b/a: metadata.namespace: `a.b` is not a valid namespace: it may contain a-z, 0-9 and '-'; \
             correct the namespace",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, protocl: TCP}]}",
            "a.yaml:4: Service default/a: spec.ports[0].protocl: unknown field `protocl`; did you mean \
             `protocol`?",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: http}]}",
            "a.yaml:4: Service default/a: spec.ports[0].port: invalid type: string \"http\", expected i32; correct \
             the value",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n\
             spec: {http: [{match: [{headrs: {}}]}]}",
            "a.yaml:4: VirtualService default/a: spec.http[0].match[0].headrs: unknown field `headrs`; did you \
             mean `headers`?",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\n\
             spec: {trafficPolicy: {tls: {mode: ISTIO}}}",
            "a.yaml:4: DestinationRule default/a: spec.trafficPolicy.tls.mode: unknown variant `ISTIO`, expected \
             one of `DISABLE`, `SIMPLE`, `MUTUAL`, `ISTIO_MUTUAL`; correct the value",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {}\nspec: {}",
            "a.yaml:5: malformed YAML: ",
        ),
    ];
    for (text, expected) in table {
        let found = refusals(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}\n expected {expected}\n found    {}", found[0]);
    }
}

#[test]
fn errors_of_malformed_yaml_do_not_mention_the_parser() {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n";
    let table = [
        (
            "  name: a\n  name: b\n",
            "a.yaml:5: malformed YAML: `name` is written twice in one object; keep one of the two",
        ),
        ("\tname: a\n", "a.yaml:4: malformed YAML: the line is indented with a tab; indent with spaces"),
        (
            "  name: {{ .Release.Name }}\n",
            "a.yaml:4: malformed YAML: it is a template of Helm's that was not rendered; render it first: `helm template",
        ),
        (
            "  name: a\n{{- if .Values.on }}\ndata: {}\n{{- end }}\n",
            "a.yaml:5: malformed YAML: it is a template of Helm's that was not rendered; render it first: `helm template",
        ),
        (
            "  name: \"{{ .Values.name }}\"\n",
            "a.yaml:4: ConfigMap default/{{ .Values.name }}: metadata.name: `{{ .Values.name }}` is not a valid name: it may contain a-z, 0-9, \
             '-' and '.'; render it first: `helm template",
        ),
        (
            "  name: a\ndata: {x: *b}\n",
            "a.yaml:5: malformed YAML: alias references unknown anchor; correct the document",
        ),
    ];
    for (text, expected) in table {
        let found = refusals(&format!("{object}{text}"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}\n expected {expected}\n found    {}", found[0]);
        assert!(!found[0].contains("at line"), "{}", found[0]);
    }
}

#[test]
fn templates_in_config_maps_are_not_taken_for_helm_templates() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  rules: 'the load is {{ $value }} of {{ .Labels.x }}'\n";
    assert_eq!(names(text), ["a.yaml:1 ConfigMap default/a"]);
    let odd = format!("{text}  rules: again\n");
    assert!(
        refusals(&format!("# {{{{ .Values.x }}}}\n{}", odd.replace(" of {{ .Labels.x }}", "")))[0]
            .contains("twice")
    );
}

#[test]
fn a_refused_field_has_its_own_line() {
    let object = "# first\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: 80\n  - prt: 80\n    name: x\n  nme: x\n";
    let lines = |text: &str| {
        parse("a", text).refusals.iter().map(|r| (r.path.clone(), r.place.line())).collect::<Vec<_>>()
    };
    let expected = [("spec.nme".to_owned(), 12), ("spec.ports[1].prt".to_owned(), 10)];
    assert_eq!(lines(object), expected);
    let before = format!("{NAMESPACE}{object}");
    assert_eq!(lines(&before), expected.clone().map(|(path, line)| (path, line + 4)));
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: a}\n  spec:\n    prts: []\n- apiVersion: v1\n  kind: Sevice\n";
    assert_eq!(lines(list), [("spec.prts".to_owned(), 8), ("kind".to_owned(), 10)]);
}

#[test]
fn many_errors_of_a_large_object_are_reported_in_time() {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n".to_owned();
    (0..10_000).for_each(|i| writeln!(text, "f{i}: 1").unwrap());
    // Searching the text for each of them would take minutes.
    assert_eq!(refusals(&text).len(), 10_000);
}

#[test]
fn the_error_for_a_misspelled_field_suggests_the_correct_name() {
    let route = |fields: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n  hosts: [a]\n  http:\n  - {fields}\n    route: [{{destination: {{host: a}}}}]\n"
        )
    };
    for (field, expected) in [
        ("retry: {attempts: 3}", Some("retries")),
        ("retires: {attempts: 3}", Some("retries")),
        ("TimeOut: 3s", Some("timeout")),
        ("corspolicy: {}", Some("corsPolicy")),
        ("zzz: 3", None),
    ] {
        let found = &parse("a", &route(field)).refusals[0];
        let next = expected
            .map_or("correct its name or remove it".to_owned(), |name| format!("did you mean `{name}`?"));
        assert_eq!((found.next.as_str(), found.place.line()), (next.as_str(), 7), "{field}");
    }
}

#[test]
fn a_refused_document_hides_no_other() {
    let text = format!("kind: [\n---\n{NAMESPACE}---\napiVersion: v1\nkind: Nothing\n");
    let parsed = parse("a.yaml", &text);
    assert_eq!(parsed.documents.len(), 1);
    assert_eq!(parsed.refusals.iter().map(|r| r.place.line()).collect::<Vec<_>>(), [1, 9]);
}

#[test]
fn all_unknown_fields_are_reported_together() {
    let text =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, lables: {}}\nspec: {containers: [{nme: x}], x: 1}";
    let paths: Vec<String> = parse("a", text).refusals.into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["metadata.lables", "spec.containers[0].nme", "spec.x"]);
}

#[test]
fn objects_written_by_kubectl_and_the_injector_are_accepted() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: null, uid: u, ownerReferences: \
                [{apiVersion: apps/v1, kind: ReplicaSet, name: a-1, uid: v, controller: true}]}\nspec:\n  \
                containers:\n  - {name: c, image: i, resources: {limits: {cpu: 1}}, volumeMounts: []}\n  volumes:\n  \
                - {name: v, configMap: {name: m, defaultMode: 0644}}\nstatus: {podIP: 10.0.0.1}\n";
    let parsed = parse("a.yaml", text);
    assert_eq!(parsed.refusals, []);
    let Body::Pod(pod) = &parsed.documents[0].object.body else { panic!("no pod") };
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_ref()).unwrap();
    assert_eq!(volumes[0].config_map.as_ref().unwrap().default_mode, Some(0o644));
}

#[test]
fn a_list_is_not_accepted_as_an_object() {
    for (spec, path) in [
        ("[]", "spec"),
        ("{mtls: []}", "spec.mtls"),
        ("{mtls: [STRICT]}", "spec.mtls"),
        ("{selector: [{app: web}]}", "spec.selector"),
    ] {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: a}}\nspec: {spec}\n"
        );
        let messages = refusals(&text);
        assert!(
            matches!(&messages[..], [one] if one.contains(&format!(" {path}: invalid type: sequence"))),
            "{messages:?}"
        );
    }
}

#[test]
fn an_object_in_two_places_is_refused_with_both() {
    let both = [parse("a.yaml", NAMESPACE), parse("b.yaml", NAMESPACE)];
    let found = duplicates(both.iter().flat_map(|p| &p.documents));
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "b.yaml:1: Namespace shop: the object is already defined at a.yaml:1; keep one of the two"
    );
}

#[test]
fn messages_never_contain_a_secrets_value() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {key: hunter2!, other: [hunter2]}";
    for refusal in parse("a.yaml", text).refusals {
        assert!(!refusal.to_string().contains("hunter2"), "{refusal}");
    }
    let accepted =
        parse("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {key: hunter2}");
    assert_eq!(accepted.documents.len(), 1);
    assert!(!format!("{accepted:?} {:?}", accepted.documents[0].object).contains("hunter2"));
}

#[test]
fn hostile_yaml_is_refused_with_bounded_resources() {
    let mut laughs = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (one, other) in ["ba", "cb", "dc", "ed", "fe", "gf", "hg", "ih", "ji"].iter().map(|p| p.split_at(1)) {
        let items = vec![format!("*{other}"); 9].join(", ");
        let _ = writeln!(laughs, "{one}: &{one} [{items}]");
    }
    let deep = "[".repeat(100_000);
    let nested = format!("{}{}", "{a: ".repeat(10_000), "}".repeat(10_000));
    let large = format!("a: {}", "x".repeat(MAX_FILE));
    for text in [laughs, deep, nested, large] {
        let parsed = parse("a.yaml", &text);
        assert!(parsed.documents.is_empty());
        assert!(!parsed.refusals.is_empty());
        assert!(parsed.refusals.iter().all(|r| r.to_string().len() < 2000), "{:?}", parsed.refusals);
    }
}

#[test]
fn a_mesh_configuration_accepts_only_supported_fields() {
    let config = mesh_config(&Place::default(), "trustDomain: td\naccessLogFile: /dev/stdout\n").unwrap();
    assert_eq!(config.trust_domain.as_deref(), Some("td"));
    assert_eq!(mesh_config(&Place::default(), ""), Ok(MeshConfig::default()));
    let refused = mesh_config(&Place::new("mesh.yaml", 0), "extensionProviders: []").unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "mesh.yaml: MeshConfig: extensionProviders: unknown field `extensionProviders` or not supported by this \
         version; correct its name or remove it"
    );
}

#[test]
fn an_object_keeps_its_uid_generation_age_and_place() {
    let text = "# one\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  uid: 1f0c\n  generation: 7\n  \
                creationTimestamp: '2026-01-01T00:00:00Z'\n";
    let object = &parse("a.yaml", text).documents[0].object;
    assert_eq!((&*object.uid, object.generation), ("1f0c", 7));
    assert_eq!(
        (object.created.as_str(), object.place.to_string()),
        ("2026-01-01T00:00:00Z", "a.yaml:2".into())
    );
}

const SAMPLE: &str =
    include_str!("../../../../samples/bookinfo/networking/virtual-service-reviews-jason-v2-v3.yaml");

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        parse("a.yaml", &text);
    }

    #[test]
    fn mutations_of_a_real_file_never_panic(at in 0..SAMPLE.len(), cut in 0usize..20, put in "[\\PC\n\t]{0,8}") {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put.into_bytes());
        parse("a.yaml", &String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn discovery_selectors_are_read_whatever_else_a_mesh_configuration_holds() {
    use crate::resource::mesh_config::discovers;
    let labels = |text: &str| -> std::collections::BTreeMap<String, String> {
        text.split(' ')
            .filter_map(|one| one.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    };
    let text = "extensionProviders: [{name: x}]\ndiscoverySelectors:\n- matchLabels: {mesh: 'on'}\n- matchExpressions:\n  \
                - {key: env, operator: In, values: [a, b]}\n";
    let selectors = discovery_selectors(text).unwrap();
    for (name, written, expected) in
        [("x", "mesh=on", true), ("x", "env=b", true), ("x", "env=c mesh=off", false), ("x", "", false)]
    {
        assert_eq!(discovers(&selectors, name, Some(&labels(written))), expected, "{written}");
    }
    let by_name =
        discovery_selectors("discoverySelectors: [{matchLabels: {kubernetes.io/metadata.name: x}}]").unwrap();
    assert!(discovers(&by_name, "x", None) && !discovers(&by_name, "y", None));
    for none in ["", "trustDomain: a", "discoverySelectors: []", "discoverySelectors: null"] {
        assert!(discovers(&discovery_selectors(none).unwrap(), "x", None), "{none}");
    }
    for wrong in
        ["[", "discoverySelectors: 1", "discoverySelectors: [{matchExpressions: [{key: a, operator: Like}]}]"]
    {
        assert!(discovery_selectors(wrong).is_err(), "{wrong}");
    }
}

use std::io::BufRead;
fn main() {
    let mesh = pilot::catalog::policy::Mesh::default();
    let exercise = std::env::args().nth(1).is_some();
    for line in std::io::stdin().lock().lines() {
        let v: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = v["yaml"].as_str().unwrap();
        let parsed = api::resource::parse::parse("a.yaml", text);
        let mut errors: Vec<String> = parsed.refusals.iter().map(|r| format!("{}: {}", r.path, r.reason)).collect();
        let mut warnings = vec![];
        for d in &parsed.documents {
            let c = pilot::validate::object(&d.place, &d.object, &mesh);
            errors.extend(c.errors.iter().map(|r| format!("{}: {}", r.path, r.reason)));
            warnings.extend(c.warnings.iter().map(|r| format!("{}: {}", r.path, r.reason)));
        }
        let mut nack = false;
        if exercise && errors.is_empty() {
            nack = std::panic::catch_unwind(|| fuzz_targets::resource::run(text.as_bytes())).is_err();
        }
        println!("{}", serde_json::json!({"errors": errors, "warnings": warnings, "nack": nack}));
    }
}

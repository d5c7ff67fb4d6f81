//! Pure. Names of pods and their owners in Kubernetes' format, so that workload names can be derived from pod names.

use serde_json::Value;

use crate::kubelet::address::fnv;

/// Letters and digits that do not form words.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a pod template: ten letters, equal for equal templates.
pub fn template_hash(template: &Value) -> String {
    encode(fnv(&[&template.to_string()]), 10)
}

/// The five random letters at the end of a pod's name.
pub fn suffix(random: u64) -> String {
    encode(random, 5)
}

/// A uid from 128 random bits.
pub fn uid(random: u128) -> String {
    let versioned = (random & !(0xf000 << 64) & !(0xc000 << 48)) | (0x4000 << 64) | (0x8000 << 48);
    let hex = format!("{versioned:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A host name for a pod: at most 63 characters, with a letter or digit at the end.
pub fn hostname(pod: &str) -> String {
    pod.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_string()
}

fn encode(mut number: u64, length: usize) -> String {
    let base = SAFE.len() as u64;
    (0..length)
        .map(|_| {
            let letter = SAFE[(number % base) as usize];
            number /= base;
            char::from(letter)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_template_has_the_same_hash_and_another_another() {
        let one = template_hash(&json!({"spec": {"a": 1}}));
        assert_eq!(one.len(), 10);
        assert_eq!(one, template_hash(&json!({"spec": {"a": 1}})));
        assert_ne!(one, template_hash(&json!({"spec": {"a": 2}})));
    }

    #[test]
    fn a_uid_has_version_four() {
        let uid = uid(u128::MAX);
        assert_eq!(uid, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn long_host_names_are_cut_at_a_letter() {
        let long = format!("{}-x", "a".repeat(62));
        assert_eq!(hostname(&long), "a".repeat(62));
    }
}

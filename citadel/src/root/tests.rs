//! Root folders: created, stored, plugged in, and invalid in every way that an operator can cause.

use crate::root::folder::{self, FolderError};
use crate::root::{Root, create, key};
use api::process::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);

fn open(folder: &Path) -> Result<Root, FolderError> {
    folder::open(folder, &"cluster.local".parse().unwrap(), NOW)
}

fn chain(error: &FolderError) -> String {
    format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_empty_folder_gets_a_root_that_is_kept_and_private() {
    let base = TempDir::new().unwrap();
    let folder = base.path().join("new/root");
    let first = open(&folder).unwrap();
    assert_eq!(mode(&folder), 0o700);
    for name in ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
    assert_eq!(open(&folder).unwrap().roots_pem(), first.roots_pem());
    assert_eq!(first.signer_not_after(), NOW + Duration::days(3650));
    assert_eq!(first.chain().len(), 1);
}

#[test]
fn processes_that_start_together_end_with_one_root() {
    let folder = TempDir::new().unwrap();
    let roots: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| open(folder.path()).unwrap().roots_pem().to_owned())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(roots.iter().all(|root| *root == roots[0]));
}

#[test]
fn the_error_for_an_unwritable_folder_names_it_and_the_remedy() {
    let base = TempDir::new().unwrap();
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("root")).err().unwrap();
    let text = chain(&error);
    assert!(text.contains("file/root") && text.contains("--root-dir"), "{text}");

    let closed = base.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser can write anywhere.
    if fs::write(closed.join("probe"), "").is_err() {
        let text = chain(&open(&closed).err().unwrap());
        assert!(text.contains("closed") && text.contains("Permission denied"), "{text}");
    }
}

#[test]
fn the_root_is_published_completely_and_readable() {
    let base = TempDir::new().unwrap();
    let file = base.path().join("root-cert.pem");
    fs::write(&file, "old and longer than the next text").unwrap();
    folder::publish(&file, "root").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "root");
    assert_eq!(mode(&file), 0o644);
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    let text = folder::publish(&base.path().join("none/root.pem"), "root").unwrap_err().to_string();
    assert!(text.contains("none/root.pem") && text.contains("--publish-root"), "{text}");
}

/// A plugged-in authority: root, intermediate, and the changes that an operator may make to them.
struct Plugged {
    certificate: String,
    key: String,
    chain: String,
    roots: String,
}

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = NOW - Duration::days(1);
    params.not_after = NOW + Duration::days(100);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    change(&mut params);
    params
}

fn plugged_with(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Plugged {
    let root = CertifiedIssuer::self_signed(authority("root", |_| {}), KeyPair::generate().unwrap()).unwrap();
    let certificate = authority("intermediate", change).signed_by(key, &root).unwrap().pem();
    Plugged { certificate, key: key.serialize_pem(), chain: String::new(), roots: root.pem() }
}

fn plugged(change: impl FnOnce(&mut CertificateParams)) -> Plugged {
    plugged_with(&KeyPair::generate().unwrap(), change)
}

fn open_plugged(files: &Plugged) -> Result<Root, String> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("ca-cert.pem"), &files.certificate).unwrap();
    fs::write(folder.path().join("ca-key.pem"), &files.key).unwrap();
    fs::write(folder.path().join("cert-chain.pem"), &files.chain).unwrap();
    fs::write(folder.path().join("root-cert.pem"), &files.roots).unwrap();
    open(folder.path()).map_err(|error| chain(&error))
}

#[test]
fn a_plugged_in_intermediate_is_sent_to_peers_once() {
    let mut files = plugged(|_| {});
    let variants = [
        String::new(),
        files.certificate.clone(),
        format!("{}{}", files.certificate, files.roots),
        format!("# comment\n{}\n\n{}", files.certificate, files.certificate),
    ];
    for variant in variants {
        files.chain = variant;
        let root = open_plugged(&files).unwrap();
        assert_eq!(root.chain().len(), 2, "{}", files.chain);
        let intermediate = tls::certificates_from_pem(root.chain()[0].as_bytes()).unwrap();
        assert_eq!(intermediate, tls::certificates_from_pem(files.certificate.as_bytes()).unwrap());
        assert_eq!(root.roots_pem().trim(), files.roots.trim());
        assert!(root.chain().iter().all(|element| element.ends_with("-----\n")));
    }
}

#[test]
fn keys_of_every_form_sign() {
    let forms = [
        include_str!("../../tests/data/rsa-2048.pem"),
        include_str!("../../tests/data/rsa-2048-pkcs1.pem"),
        include_str!("../../tests/data/ec-prime256v1-sec1.pem"),
        include_str!("../../tests/data/ec-secp384r1-sec1.pem"),
    ];
    for (row, pem) in forms.into_iter().enumerate() {
        let mut files = plugged_with(&key::read(pem.as_bytes()).unwrap(), |_| {});
        pem.clone_into(&mut files.key);
        assert!(open_plugged(&files).is_ok(), "row {row}");
    }
}

#[test]
fn a_mistake_in_a_plugged_in_authority_is_named_with_its_file() {
    let good = || plugged(|_| {});
    let other = good();
    let with = |change: fn(&mut CertificateParams)| plugged(change);
    let table: Vec<(Plugged, &str)> = vec![
        (Plugged { key: other.key.clone(), ..good() }, "ca-key.pem: it is not the key of the certificate"),
        (Plugged { key: "garbage".to_owned(), ..good() }, "ca-key.pem: invalid PEM"),
        (Plugged { key: good().certificate, ..good() }, "ca-key.pem: invalid PEM: it has no private key"),
        (Plugged { certificate: String::new(), ..good() }, "ca-cert.pem: invalid PEM"),
        (Plugged { roots: "garbage".to_owned(), ..good() }, "root-cert.pem: invalid PEM"),
        (Plugged { chain: "garbage".to_owned(), ..good() }, "cert-chain.pem: invalid PEM"),
        (
            Plugged { roots: other.roots.clone(), ..good() },
            "cert-chain.pem: a certificate signed by ca-cert.pem does not lead",
        ),
        (with(|p| p.not_after = NOW), "ca-cert.pem: `CN=intermediate` expired"),
        (
            with(|p| p.not_before = NOW + Duration::days(1)),
            "ca-cert.pem: `CN=intermediate` is not valid before",
        ),
        (with(|p| p.is_ca = IsCa::ExplicitNoCa), "ca-cert.pem: it is not an authority's certificate"),
        (
            with(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]),
            "ca-cert.pem: its key usage does not allow",
        ),
        (
            Plugged { certificate: format!("{}{}", other.certificate, other.roots), ..good() },
            "ca-cert.pem: it holds 2 certificates",
        ),
    ];
    for (row, (files, reason)) in table.into_iter().enumerate() {
        let error = open_plugged(&files).err().unwrap_or_default();
        assert!(error.contains(reason), "row {row}: {error}");
        assert!(error.contains("correct the file"), "row {row}: {error}");
        let secret = files.key.lines().nth(1).unwrap_or("no second line");
        assert!(!error.contains(secret), "row {row} shows the key");
    }
}

#[test]
fn an_expired_root_or_one_with_no_room_below_it_is_refused() {
    let mut files = plugged(|_| {});
    let old = authority("root", |p| p.not_after = NOW - Duration::hours(1));
    files.roots = old.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    assert!(open_plugged(&files).err().unwrap().contains("root-cert.pem: `CN=root` expired"));

    let narrow = authority("root", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let root = CertifiedIssuer::self_signed(narrow, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = authority("intermediate", |_| {}).signed_by(&key, &root).unwrap().pem();
    let files = Plugged { certificate, key: key.serialize_pem(), chain: String::new(), roots: root.pem() };
    assert!(open_plugged(&files).is_ok(), "path length 0 still allows one authority above the leaf");
}

#[test]
fn certificates_expire_no_later_than_any_certificate_of_their_chain() {
    let day = |days| NOW + Duration::days(days);
    let made = |root_end: i64, end: i64| {
        let root = authority("root", |p| p.not_after = day(root_end));
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            authority("intermediate", |p| p.not_after = day(end)).signed_by(&key, &root).unwrap().pem();
        Plugged { certificate, key: key.serialize_pem(), chain: String::new(), roots: root.pem() }
    };
    assert_eq!(open_plugged(&made(50, 20)).unwrap().chain_not_after(), day(20));
    assert_eq!(open_plugged(&made(20, 50)).unwrap().chain_not_after(), day(20));
    // Another root of the bundle that expires earlier is not on the path.
    let mut files = made(50, 60);
    files.roots = made(5, 5).roots + &files.roots;
    let root = open_plugged(&files).unwrap();
    assert_eq!((root.chain_not_after(), root.root_not_after()), (day(50), day(5)));
}

#[test]
fn a_root_folder_can_be_opened_after_a_crash_at_any_step() {
    let made = create::self_signed(&"d".parse().unwrap(), &[1], NOW).unwrap();
    let texts = [&made.certificate, &made.key, &made.chain, &made.roots];
    let names = ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"];
    let write =
        |folder: &TempDir, name: String, text: &str| fs::write(folder.path().join(name), text).unwrap();
    for staged in 0..=names.len() {
        let folder = TempDir::new().unwrap();
        for (name, text) in names.iter().zip(texts).take(staged) {
            write(&folder, format!(".{name}.new"), &text[..text.len() / 2]);
        }
        let opened = open(folder.path()).unwrap();
        assert_ne!(
            opened.roots_pem(),
            made.roots,
            "what was never whole counts for nothing ({staged} written)"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len() + 1, "{staged} written");
    }
    for placed in 1..names.len() {
        let folder = TempDir::new().unwrap();
        for (index, (name, text)) in names.iter().zip(texts).enumerate() {
            write(&folder, if index < placed { (*name).to_owned() } else { format!(".{name}.new") }, text);
        }
        assert_eq!(open(folder.path()).unwrap().roots_pem(), made.roots, "{placed} placed");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len(), "{placed} placed");
    }
}

#[test]
fn a_part_of_an_authority_is_never_overwritten() {
    let made = create::self_signed(&"d".parse().unwrap(), &[1], NOW).unwrap();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("ca-key.pem"), &made.key).unwrap();
    let text = open(folder.path()).err().unwrap().to_string();
    assert!(text.contains("ca-cert.pem, root-cert.pem missing"), "{text}");
    assert_eq!(fs::read_to_string(folder.path().join("ca-key.pem")).unwrap(), made.key);
    fs::write(folder.path().join("ca-cert.pem"), &made.certificate).unwrap();
    fs::write(folder.path().join("root-cert.pem"), &made.roots).unwrap();
    assert!(open(folder.path()).is_ok(), "a chain file is not needed when the signer is the root");
}

//! Pure. Parses the authority's private key in any format that tools write (PKCS#8, PKCS#1, SEC1). The signer accepts
//! PKCS#8 only, while `openssl` has written the others for decades.

use rcgen::KeyPair;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Parses a private key. The error never contains it.
pub fn read(pem: &[u8]) -> Result<KeyPair, String> {
    let unusable = || "its key is not ECDSA P-256 or P-384, RSA of 2048 bits or more, or Ed25519".to_owned();
    let key = api::process::tls::private_key_from_pem(pem).map_err(|error| error.to_string())?;
    let candidates = match &key {
        PrivateKeyDer::Pkcs8(key) => vec![key.secret_pkcs8_der().to_vec()],
        PrivateKeyDer::Pkcs1(key) => vec![pkcs8(RSA, key.secret_pkcs1_der())],
        PrivateKeyDer::Sec1(key) => {
            vec![pkcs8(P256, key.secret_sec1_der()), pkcs8(P384, key.secret_sec1_der())]
        }
        _ => return Err(unusable()),
    };
    candidates
        .into_iter()
        .find_map(|der| KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).ok())
        .ok_or_else(unusable)
}

/// Encodes `PrivateKeyInfo ::= SEQUENCE { version INTEGER 0, algorithm AlgorithmIdentifier, privateKey OCTET STRING }`
/// (RFC 5208) around a key in its own format.
fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let version = [0x02, 0x01, 0x00];
    let content = [&version[..], algorithm, &element(0x04, key)].concat();
    element(0x30, &content)
}

/// Encodes a DER element: tag, length in the fewest bytes, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let significant: Vec<u8> =
                length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | significant.len() as u8);
            bytes.extend(significant);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// `AlgorithmIdentifier` of rsaEncryption, with its NULL parameters.
const RSA: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `AlgorithmIdentifier` of id-ecPublicKey on prime256v1.
const P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// `AlgorithmIdentifier` of id-ecPublicKey on secp384r1.
const P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22,
];

//! The cookie: a secret that every node and client of a cluster knows.
//!
//! It never travels: a handshake proves that both ends know it (`super::handshake`). It prints as `Cookie(…)`.
//! Where it is kept is `super::cookie_file`'s business.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The shared secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie(Vec<u8>);

impl Cookie {
    /// A cookie of this text, without the white space around it. An empty one is refused with a sentence.
    pub fn new(text: &str) -> Result<Cookie, String> {
        match text.trim() {
            "" => {
                Err("an empty cookie protects nothing: give it some text, best 32 random bytes in hexadecimal".into())
            }
            text => Ok(Cookie(text.as_bytes().to_vec())),
        }
    }

    /// HMAC-SHA256 over `parts`, one after the other; so all but one of them must have a fixed length.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.digest(parts).finalize().into_bytes().into()
    }

    /// Whether `signature` is the one over `parts`; takes as long whatever it is.
    pub(super) fn verifies(&self, parts: &[&[u8]], signature: &[u8; 32]) -> bool {
        self.digest(parts).verify_slice(signature).is_ok()
    }

    fn digest(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut digest = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| digest.update(part));
        digest
    }
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_print_itself() {
        let cookie = Cookie::new(" secret\n").expect("some text");
        assert_eq!(format!("{cookie:?}"), "Cookie(…)");
        assert_eq!(cookie, Cookie::new("secret").expect("some text"));
    }

    #[test]
    fn an_empty_one_is_refused() {
        assert!(Cookie::new(" \n").is_err());
    }

    #[test]
    fn it_signs_as_rfc_4231_says() {
        let cookie = Cookie::new("Jefe").expect("some text");
        let signature = cookie.sign(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(signature[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert!(cookie.verifies(&[b"what do ya want for nothing?"], &signature));
        assert!(!cookie.verifies(&[b"what do ya want for nothing!"], &signature));
    }
}

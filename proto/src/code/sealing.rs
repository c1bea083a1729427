//! From the words to keys, and what is sealed under them.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::{Card, Code};
use crate::seal::hkdf;

const LABEL: &[u8] = b"knothole code 1";
const JOINER: &[u8] = b"knothole code joiner";
const MAKER: &[u8] = b"knothole code maker";

/// Chance in the form that SPAKE2 takes it.
struct Chance(ChaCha12Rng);

impl rand_core_06::RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core_06::CryptoRng for Chance {}

/// One end's half of the key exchange.
pub(super) struct Half(Spake2<Ed25519Group>);

impl Half {
    /// Begins at the end that typed the code, with what is to be said.
    pub(super) fn of_joiner(code: &Code, seed: [u8; 32]) -> (Self, Vec<u8>) {
        let chance = Chance(ChaCha12Rng::from_seed(seed));
        let (half, message) =
            Spake2::start_a_with_rng(&password(code), &Identity::new(JOINER), &Identity::new(MAKER), chance);
        (Self(half), message)
    }

    /// Begins at the end that made it.
    pub(super) fn of_maker(code: &Code, seed: [u8; 32]) -> (Self, Vec<u8>) {
        let chance = Chance(ChaCha12Rng::from_seed(seed));
        let (half, message) =
            Spake2::start_b_with_rng(&password(code), &Identity::new(JOINER), &Identity::new(MAKER), chance);
        (Self(half), message)
    }

    /// The keys, of the two messages: `None` if the other end's is no such message.
    pub(super) fn finish(self, code: &Code, theirs: &[u8], join: &[u8], answer: &[u8]) -> Option<Keys> {
        let secret: [u8; 32] = self.0.finish(theirs).ok()?.try_into().ok()?;
        let context = [&code.number.to_be_bytes(), join, answer].concat();
        Some(Keys { secret, context })
    }
}

/// The number belongs to it: a code that is led to another's maker is another secret.
fn password(code: &Code) -> Password {
    Password::new(code.to_string().as_bytes())
}

/// What both ends have, if both used the same words.
pub(super) struct Keys {
    secret: [u8; 32],
    /// All that was said in the clear; sealed cards are good in this exchange alone.
    context: Vec<u8>,
}

impl Keys {
    /// The joiner's card, which is its proof that it knows the words, too.
    pub(super) fn seal_proof(&self, card: &Card) -> Vec<u8> {
        self.seal(b"joiner", &[], card)
    }

    pub(super) fn open_proof(&self, sealed: &[u8]) -> Option<Card> {
        self.open(b"joiner", &[], sealed)
    }

    /// The maker's card, in answer to that proof.
    pub(super) fn seal_answer(&self, proof: &[u8], card: &Card) -> Vec<u8> {
        self.seal(b"maker", proof, card)
    }

    pub(super) fn open_answer(&self, proof: &[u8], sealed: &[u8]) -> Option<Card> {
        self.open(b"maker", proof, sealed)
    }

    fn seal(&self, end: &[u8], before: &[u8], card: &Card) -> Vec<u8> {
        let mut sealed = card.to_bytes();
        #[expect(clippy::expect_used, reason = "fails only for texts of 256 GiB")]
        self.key(end).seal_in_place_append_tag(nonce(), self.bound(before), &mut sealed).expect("a short text");
        sealed
    }

    fn open(&self, end: &[u8], before: &[u8], sealed: &[u8]) -> Option<Card> {
        let mut text = sealed.to_vec();
        let text = self.key(end).open_in_place(nonce(), self.bound(before), &mut text).ok()?;
        Card::parse(text)
    }

    /// Each key seals one card.
    fn key(&self, end: &[u8]) -> LessSafeKey {
        #[expect(clippy::expect_used, reason = "a key of 32 bytes is what the algorithm takes")]
        let key = UnboundKey::new(&CHACHA20_POLY1305, &hkdf::<32>(LABEL, &self.secret, &[end])).expect("32 bytes");
        LessSafeKey::new(key)
    }

    fn bound(&self, before: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([&self.context, before].concat())
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

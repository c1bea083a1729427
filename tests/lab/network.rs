//! The fourteen kinds of network between which Knothole is measured, and what can be expected of each pair.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::namespaces::{Host, Input, Lab};
use crate::nat::NatKind;

/// A kind of network that a peer may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// No NAT.
    Public,
    /// Endpoint-independent mapping and filtering.
    Eif,
    /// Endpoint-independent mapping, address-dependent filtering.
    Adf,
    /// Endpoint-independent mapping, address-and-port-dependent filtering: the common home router.
    Apdf,
    /// As [`Self::Apdf`], and each mapping's port is random.
    ApdfRandom,
    /// The kernel's `masquerade`, INPUT accepting.
    NftAccept,
    /// The kernel's `masquerade`, INPUT dropping.
    NftDrop,
    /// A home router behind a carrier's, both [`Self::Apdf`].
    Double,
    /// Mapping and filtering address-dependent, ports random.
    AddressDependent,
    /// A mapping for each destination, each port the last one plus one.
    Sequential,
    /// A mapping for each destination, at random within 512 ports.
    Block,
    /// A mapping for each destination, ports random.
    Symmetric,
    /// The kernel's `masquerade fully-random`, INPUT dropping.
    NftRandom,
    /// As [`Self::Apdf`], and no UDP passes.
    NoUdp,
}

/// How hard it is to be reached in a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hardness {
    /// One mapping serves every destination, or the port can be had again.
    Easy,
    /// Each destination has a mapping of its own, at a port that has to be found out.
    Hard,
    /// Nothing direct passes.
    Closed,
}

impl Network {
    /// Every kind, from the easiest.
    pub const ALL: [Self; 14] = [
        Self::Public,
        Self::Eif,
        Self::Adf,
        Self::Apdf,
        Self::ApdfRandom,
        Self::NftAccept,
        Self::NftDrop,
        Self::Double,
        Self::AddressDependent,
        Self::Sequential,
        Self::Block,
        Self::Symmetric,
        Self::NftRandom,
        Self::NoUdp,
    ];

    /// Its name in tables and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Eif => "eif",
            Self::Adf => "adf",
            Self::Apdf => "apdf",
            Self::ApdfRandom => "apdf-random",
            Self::NftAccept => "nft-accept",
            Self::NftDrop => "nft-drop",
            Self::Double => "double",
            Self::AddressDependent => "address-dep",
            Self::Sequential => "sequential",
            Self::Block => "block-512",
            Self::Symmetric => "symmetric",
            Self::NftRandom => "nft-random",
            Self::NoUdp => "no-udp",
        }
    }

    /// Makes a host in a network of this kind.
    ///
    /// # Errors
    /// See [`Lab::host_behind`].
    pub fn host(self, lab: &mut Lab, name: &str) -> Result<Host> {
        match self {
            Self::Public => lab.host_behind(name, NatKind::Public),
            Self::Eif => lab.host_behind(name, NatKind::EimEif),
            Self::Adf => lab.host_behind(name, NatKind::EimAdf),
            Self::Apdf => lab.host_behind(name, NatKind::EimApdf),
            Self::ApdfRandom => lab.host_behind(name, NatKind::EimApdfRandom),
            Self::NftAccept => lab.nft_host(name, Input::Accept, false),
            Self::NftDrop => lab.nft_host(name, Input::Drop, false),
            Self::Double => lab.double_nat(name, NatKind::EimApdf, NatKind::EimApdf),
            Self::AddressDependent => lab.host_behind(name, NatKind::AddressDependent),
            Self::Sequential => lab.host_behind(name, NatKind::Sequential),
            Self::Block => lab.host_behind(name, NatKind::Block),
            Self::Symmetric => lab.host_behind(name, NatKind::RandomSymmetric),
            Self::NftRandom => lab.nft_host(name, Input::Drop, true),
            Self::NoUdp => {
                let host = lab.host_behind(name, NatKind::EimApdf)?;
                lab.set_udp_blocked(&host, true);
                Ok(host)
            }
        }
    }

    const fn hardness(self) -> Hardness {
        match self {
            Self::Public
            | Self::Eif
            | Self::Adf
            | Self::Apdf
            | Self::ApdfRandom
            | Self::NftAccept
            | Self::NftDrop
            | Self::Double => Hardness::Easy,
            Self::AddressDependent | Self::Sequential | Self::Block | Self::Symmetric | Self::NftRandom => {
                Hardness::Hard
            }
            Self::NoUdp => Hardness::Closed,
        }
    }

    /// Whether each destination has a mapping of its own, at a port that has to be found out.
    #[must_use]
    pub fn is_hard(self) -> bool {
        self.hardness() == Hardness::Hard
    }

    /// Whether a packet comes in only from the very port that was sent to.
    const fn filters_ports(self) -> bool {
        !matches!(self, Self::Public | Self::Eif | Self::Adf | Self::AddressDependent)
    }

    /// Whether one of the two has to guess a port of the other's: where that other is hard, and this one lets in only whom
    /// it has sent to, port and all.
    #[must_use]
    pub fn takes_guessing(self, other: Self) -> bool {
        let guesses = |at: Self, of: Self| of.is_hard() && (at.filters_ports() || at.is_hard());
        guesses(self, other) || guesses(other, self)
    }

    /// Whether a direct path exists that can be found: always where one side is easy to reach, and where
    /// both sides' ports can be predicted. 77 of the 105 pairs.
    #[must_use]
    pub fn direct_possible(self, other: Self) -> bool {
        match (self.hardness(), other.hardness()) {
            (Hardness::Closed, _) | (_, Hardness::Closed) => false,
            (Hardness::Easy, _) | (_, Hardness::Easy) => true,
            (Hardness::Hard, Hardness::Hard) => self == Self::Sequential && other == Self::Sequential,
        }
    }

    /// Every unordered pair, 105 of them.
    #[must_use]
    pub fn pairs() -> Vec<(Self, Self)> {
        let from = |first: usize| Self::ALL[first..].iter().map(move |second| (Self::ALL[first], *second));
        (0..Self::ALL.len()).flat_map(from).collect()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Network {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let Some(found) = Self::ALL.into_iter().find(|network| network.name() == name) else {
            bail!("no kind of network is called {name:?}: {}", Self::ALL.map(Self::name).join(", "));
        };
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_path_is_possible_in_77_of_105_pairs() {
        let pairs = Network::pairs();
        assert_eq!(pairs.len(), 105);
        assert_eq!(pairs.iter().filter(|(a, b)| a.direct_possible(*b)).count(), 77);
        assert!(pairs.iter().all(|(a, b)| a.direct_possible(*b) == b.direct_possible(*a)));
    }

    #[test]
    fn ports_are_guessed_where_one_side_is_hard_and_the_other_lets_in_no_other_port() {
        use Network::*;
        for (a, b, guessed) in [
            (Public, Symmetric, false),
            (Adf, NftRandom, false),
            (Apdf, Double, false),
            (Apdf, AddressDependent, true),
            (NftAccept, NftRandom, true),
            (Sequential, Sequential, true),
        ] {
            assert_eq!((a.takes_guessing(b), b.takes_guessing(a)), (guessed, guessed), "{a} × {b}");
        }
    }

    #[test]
    fn every_kind_is_known_by_its_name() {
        for network in Network::ALL {
            assert_eq!(network.name().parse::<Network>().unwrap(), network);
        }
    }
}

//! Who may do what, where. The decision is pure; passwords, tokens and throttling stand beside it.
//!
//! **Invariant**: every read of footage passes [`decide`] and is written to the access log before it is answered.

mod password;
mod throttle;

use std::fmt;
use std::str::FromStr;

use archive::ids::UnitId;
use archive::segment::Digest;
use rand::RngCore as _;

pub use password::{PasswordError, Passwords};
pub use throttle::{Attempts, TooManyAttempts};

/// What a person is to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Watches service now.
    Leader,
    /// Reviews what happened with a dossier.
    ComplaintHandler,
    /// Reviews quality.
    Auditor,
    /// Serves, and is recorded.
    Officer,
    /// Looks after recorders and places; sees no footage.
    Administrator,
    /// Connects other systems.
    Integrator,
    /// Watches over personal data.
    DataProtectionOfficer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Leader,
        Self::ComplaintHandler,
        Self::Auditor,
        Self::Officer,
        Self::Administrator,
        Self::Integrator,
        Self::DataProtectionOfficer,
    ];

    /// The name in commands, JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::ComplaintHandler => "complaint_handler",
            Self::Auditor => "auditor",
            Self::Officer => "officer",
            Self::Administrator => "administrator",
            Self::Integrator => "integrator",
            Self::DataProtectionOfficer => "data_protection_officer",
        }
    }

    /// Whether the role carries the right to do this.
    pub fn allows(self, action: Action) -> bool {
        match action {
            Action::SeeFootage | Action::ExportFootage | Action::SeeInteractions => {
                matches!(self, Self::Leader | Self::ComplaintHandler | Self::Auditor)
            }
            Action::HoldFootage => matches!(self, Self::Leader | Self::ComplaintHandler),
            Action::SeeDevices => self == Self::Administrator,
            Action::SeePlaces => !matches!(self, Self::Integrator),
        }
    }
}

/// A name that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no role: leader, complaint_handler, auditor, officer, administrator, integrator or \
     data_protection_officer"
)]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| UnknownRole(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A role over a unit and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The unit.
    pub unit: UnitId,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To see recorded or live pictures.
    SeeFootage,
    /// To take footage out of the archive.
    ExportFootage,
    /// To see tickets, dossiers, officers and ratings.
    SeeInteractions,
    /// To say that footage must stay, and that it need not any more.
    HoldFootage,
    /// To see recorders and their health.
    SeeDevices,
    /// To see that units, sites and counters exist.
    SeePlaces,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes, by this role.
    Allowed(Role),
    /// No.
    Denied,
}

/// Decides whether grants allow an action at a place, given as its unit and all units above it.
pub fn decide(grants: &[Grant], action: Action, place: &[&UnitId]) -> Decision {
    grants
        .iter()
        .filter(|grant| grant.role.allows(action))
        .find(|grant| place.contains(&&grant.unit))
        .map_or(Decision::Denied, |grant| Decision::Allowed(grant.role))
}

/// A new secret of 256 bits, as text for cookies and tokens.
pub fn new_secret() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

/// What is kept of a secret of full entropy: its digest.
pub fn secret_hash(secret: &str) -> String {
    Digest::of(secret.as_bytes()).to_string()
}

/// Compares digests without telling by its time where they differ.
pub fn is_same(a: &str, b: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> UnitId {
        text.parse().unwrap()
    }

    #[test]
    fn footage_is_inherited_downward_and_never_upward() {
        let (city, district, other) = (unit("city"), unit("district"), unit("other"));
        let grants = [Grant {
            role: Role::Auditor,
            unit: district.clone(),
        }];
        assert_eq!(
            decide(&grants, Action::SeeFootage, &[&unit("ward"), &district, &city]),
            Decision::Allowed(Role::Auditor)
        );
        assert_eq!(decide(&grants, Action::SeeFootage, &[&city]), Decision::Denied);
        assert_eq!(
            decide(&grants, Action::SeeFootage, &[&other, &city]),
            Decision::Denied
        );
        assert_eq!(decide(&grants, Action::SeeFootage, &[]), Decision::Denied);
    }

    #[test]
    fn an_administrator_sees_devices_and_no_footage() {
        let city = unit("city");
        let grants = [Grant {
            role: Role::Administrator,
            unit: city.clone(),
        }];
        assert_eq!(decide(&grants, Action::SeeFootage, &[&city]), Decision::Denied);
        assert_eq!(
            decide(&grants, Action::SeeInteractions, &[&city]),
            Decision::Denied
        );
        assert_eq!(
            decide(&grants, Action::SeeDevices, &[&city]),
            Decision::Allowed(Role::Administrator)
        );
    }

    #[test]
    fn only_three_roles_carry_footage() {
        let with: Vec<_> = Role::ALL
            .into_iter()
            .filter(|r| r.allows(Action::SeeFootage))
            .collect();
        assert_eq!(with, [Role::Leader, Role::ComplaintHandler, Role::Auditor]);
    }
}

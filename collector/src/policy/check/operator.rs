//! Operators: what each is called, and what it compares by.

use crate::policy::model::conditions::{Comparison, Operator, TextOperator};

impl Operator {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Equal,
        Self::NotEqual,
        Self::Prefix,
        Self::NotPrefix,
        Self::Postfix,
        Self::NotPostfix,
        Self::GreaterThan,
        Self::LessThan,
        Self::Mask,
        Self::InMap,
        Self::NotInMap,
        Self::InRange,
        Self::NotInRange,
        Self::FileType,
        Self::NotFileType,
        Self::SPort,
        Self::NotSPort,
        Self::SPortPriv,
        Self::NotSPortPriv,
        Self::DPort,
        Self::NotDPort,
        Self::DPortPriv,
        Self::NotDPortPriv,
        Self::SAddr,
        Self::NotSAddr,
        Self::DAddr,
        Self::NotDAddr,
        Self::Protocol,
        Self::Family,
        Self::State,
        Self::SubString,
        Self::SubStringIgnCase,
        Self::CapabilitiesGained,
        Self::CelExpr,
    ];

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::NotEqual => "NotEqual",
            Self::Prefix => "Prefix",
            Self::NotPrefix => "NotPrefix",
            Self::Postfix => "Postfix",
            Self::NotPostfix => "NotPostfix",
            Self::GreaterThan => "GreaterThan",
            Self::LessThan => "LessThan",
            Self::Mask => "Mask",
            Self::InMap => "InMap",
            Self::NotInMap => "NotInMap",
            Self::InRange => "InRange",
            Self::NotInRange => "NotInRange",
            Self::FileType => "FileType",
            Self::NotFileType => "NotFileType",
            Self::SPort => "SPort",
            Self::NotSPort => "NotSPort",
            Self::SPortPriv => "SPortPriv",
            Self::NotSPortPriv => "NotSPortPriv",
            Self::DPort => "DPort",
            Self::NotDPort => "NotDPort",
            Self::DPortPriv => "DPortPriv",
            Self::NotDPortPriv => "NotDPortPriv",
            Self::SAddr => "SAddr",
            Self::NotSAddr => "NotSAddr",
            Self::DAddr => "DAddr",
            Self::NotDAddr => "NotDAddr",
            Self::Protocol => "Protocol",
            Self::Family => "Family",
            Self::State => "State",
            Self::SubString => "SubString",
            Self::SubStringIgnCase => "SubStringIgnCase",
            Self::CapabilitiesGained => "CapabilitiesGained",
            Self::CelExpr => "CelExpr",
        }
    }

    /// Whether it is about all arguments that a filter lists, rather than one.
    pub fn takes_several(self) -> bool {
        matches!(self, Self::CelExpr | Self::CapabilitiesGained)
    }

    /// Its values may be ranges.
    pub fn takes_ranges(self) -> bool {
        matches!(self, Self::InMap | Self::NotInMap | Self::InRange | Self::NotInRange)
    }

    /// As a comparison of numbers; `operators` lets no other come here.
    pub(super) fn comparison(self) -> Comparison {
        match self {
            Self::NotEqual => Comparison::NotEqual,
            Self::GreaterThan => Comparison::GreaterThan,
            Self::LessThan => Comparison::LessThan,
            Self::Mask => Comparison::Mask,
            _ => Comparison::Equal,
        }
    }

    /// As a comparison of texts; `operators` lets no other come here.
    pub(super) fn text(self) -> TextOperator {
        match self {
            Self::NotEqual => TextOperator::NotEqual,
            Self::Prefix => TextOperator::Prefix,
            Self::NotPrefix => TextOperator::NotPrefix,
            Self::Postfix => TextOperator::Postfix,
            Self::NotPostfix => TextOperator::NotPostfix,
            _ => TextOperator::Equal,
        }
    }
}

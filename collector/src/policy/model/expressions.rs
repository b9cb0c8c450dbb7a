//! Expressions of `CelExpr`: numbers that are computed, and what is said of them.

use super::arguments::ArgumentSlot;

/// An expression that holds or doesn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// Its outermost part: one of type [`Type::Bool`].
    pub root: Node,
}

/// A part of an expression. Types have been checked: each operation's operands have the type that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A number in the bounds of its type, or 0 or 1.
    Constant(Type, i128),
    /// A number that the hook reads.
    Argument(ArgumentSlot, Type),
    /// Something of one operand.
    Unary(Unary, Box<Node>),
    /// Something of two.
    Binary(Binary, Box<Node>, Box<Node>),
}

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// `int32(…)`, and arguments of 32 bits or fewer with a sign.
    I32,
    /// `uint32(…)`, and arguments of 32 bits or fewer without.
    U32,
    /// Whole numbers, and arguments of 64 bits with a sign.
    I64,
    /// Those that end in `u`, and arguments of 64 bits without.
    U64,
}

/// An operation on one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `!`
    LogicalNot,
    /// `not(…)`: every bit turned.
    Not,
    /// `int32(…)`, of an `I64`: its lower half.
    ToI32,
    /// `uint32(…)`, of a `U64`: its lower half.
    ToU32,
}

/// An operation on two operands of the same type. Numbers wrap round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as usual")]
pub enum Binary {
    Add,
    Subtract,
    And,
    Or,
    Xor,
    LogicalAnd,
    LogicalOr,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

// === impl Expression ===

impl Expression {
    /// The arguments that it names, each once.
    pub fn arguments(&self) -> Vec<ArgumentSlot> {
        let mut found = Vec::new();
        self.root.arguments(&mut found);
        found
    }
}

// === impl Node ===

impl Node {
    /// What it is.
    pub fn kind(&self) -> Type {
        match self {
            Self::Constant(kind, _) | Self::Argument(_, kind) => *kind,
            Self::Unary(Unary::LogicalNot, _) => Type::Bool,
            Self::Unary(Unary::ToI32, _) => Type::I32,
            Self::Unary(Unary::ToU32, _) => Type::U32,
            Self::Unary(Unary::Not, operand) => operand.kind(),
            Self::Binary(operation, left, _) => match operation {
                Binary::Add | Binary::Subtract | Binary::And | Binary::Or | Binary::Xor => left.kind(),
                _ => Type::Bool,
            },
        }
    }

    fn arguments(&self, found: &mut Vec<ArgumentSlot>) {
        match self {
            Self::Constant(..) => {}
            Self::Argument(slot, _) if found.contains(slot) => {}
            Self::Argument(slot, _) => found.push(*slot),
            Self::Unary(_, operand) => operand.arguments(found),
            Self::Binary(_, left, right) => {
                left.arguments(found);
                right.arguments(found);
            }
        }
    }
}

// === impl Type ===

impl Type {
    /// The least and the greatest.
    pub fn bounds(self) -> (i128, i128) {
        match self {
            Self::Bool => (0, 1),
            Self::I32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
            Self::U32 => (0, i128::from(u32::MAX)),
            Self::I64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
            Self::U64 => (0, i128::from(u64::MAX)),
        }
    }

    /// As the language calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int",
            Self::U64 => "uint",
        }
    }
}

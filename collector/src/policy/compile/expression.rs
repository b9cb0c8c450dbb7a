//! Expressions as what the kernel's machine runs: `bpf/hook/expression.h`.

use trigon_probes::hooks::plan::{EXPRESSION_OPERATIONS, Expression as Plan, Operation, code};

use super::super::model::{
    arguments::ArgumentSlot,
    expressions::{Binary, Expression, Node, Type, Unary},
};

/// An expression that has more than [`EXPRESSION_OPERATIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// The operations of an expression; `value` is where the table has an argument.
///
/// # Errors
/// There are too many of them. Where there aren't, the numbers that wait have room, too: at most half of them, and one.
pub fn operations(
    expression: &Expression,
    value: impl Fn(ArgumentSlot) -> u8,
) -> Result<Vec<Operation>, TooLarge> {
    let mut lowering = Lowering { value: &value, operations: Vec::new() };
    lowering.node(&expression.root);
    if lowering.operations.len() > EXPRESSION_OPERATIONS { Err(TooLarge) } else { Ok(lowering.operations) }
}

/// `CapabilitiesGained`: whether the set that is value `after` has one of `capabilities` that `before` hasn't.
pub(super) fn gained(before: u8, after: u8, capabilities: u64) -> Vec<Operation> {
    let number = |number| Operation { code: code::NUMBER, number, ..Operation::default() };
    let value = |value| Operation { code: code::VALUE, value, ..Operation::default() };
    let plain = |code| Operation { code, ..Operation::default() };
    vec![
        value(before),
        number(u64::MAX),
        plain(code::XOR),
        value(after),
        plain(code::AND),
        number(capabilities),
        plain(code::AND),
    ]
}

/// As the kernel takes it.
pub(super) fn plan(operations: &[Operation]) -> Plan {
    let count = operations.len().min(EXPRESSION_OPERATIONS);
    let mut plan =
        Plan { count: count as u32, reserved: 0, operation: [Operation::default(); EXPRESSION_OPERATIONS] };
    plan.operation[..count].copy_from_slice(&operations[..count]);
    plan
}

struct Lowering<'a> {
    value: &'a dyn Fn(ArgumentSlot) -> u8,
    operations: Vec<Operation>,
}

// === impl Lowering ===

impl Lowering<'_> {
    fn node(&mut self, node: &Node) {
        match node {
            // Every type's bounds lie within 64 bits.
            Node::Constant(_, number) => self.number(*number as u64),
            Node::Argument(slot, _) => {
                let value = (self.value)(*slot);
                self.push(Operation { code: code::VALUE, value, ..Operation::default() });
            }
            Node::Unary(operation, operand) => {
                self.node(operand);
                match operation {
                    Unary::LogicalNot => self.turn(),
                    Unary::Not => {
                        let all = if operand.kind() == Type::U32 { u64::from(u32::MAX) } else { u64::MAX };
                        self.number(all);
                        self.combine(code::XOR);
                    }
                    Unary::ToI32 => self.narrow(code::S32),
                    Unary::ToU32 => self.narrow(code::U32),
                }
            }
            Node::Binary(operation, left, right) => self.binary(*operation, left, right),
        }
    }

    fn binary(&mut self, operation: Binary, left: &Node, right: &Node) {
        // What is greater has the other on its left.
        let swapped = matches!(operation, Binary::Greater | Binary::LessOrEqual);
        let (first, second) = if swapped { (right, left) } else { (left, right) };
        self.node(first);
        self.node(second);
        let kind = left.kind();
        let less = match kind {
            Type::I32 | Type::I64 => code::LESS_SIGNED,
            Type::Bool | Type::U32 | Type::U64 => code::LESS,
        };
        match operation {
            Binary::Add | Binary::Subtract => {
                self.combine(if operation == Binary::Add { code::ADD } else { code::SUB });
                match kind {
                    Type::I32 => self.narrow(code::S32),
                    Type::U32 => self.narrow(code::U32),
                    Type::Bool | Type::I64 | Type::U64 => {}
                }
            }
            Binary::And | Binary::LogicalAnd => self.combine(code::AND),
            Binary::Or | Binary::LogicalOr => self.combine(code::OR),
            Binary::Xor => self.combine(code::XOR),
            Binary::Equal => self.combine(code::EQUAL),
            Binary::NotEqual => {
                self.combine(code::EQUAL);
                self.turn();
            }
            Binary::Less | Binary::Greater => self.combine(less),
            Binary::LessOrEqual | Binary::GreaterOrEqual => {
                self.combine(less);
                self.turn();
            }
        }
    }

    /// 1 becomes 0, and 0 becomes 1.
    fn turn(&mut self) {
        self.number(0);
        self.combine(code::EQUAL);
    }

    fn number(&mut self, number: u64) {
        self.push(Operation { code: code::NUMBER, number, ..Operation::default() });
    }

    fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Something that the topmost number becomes.
    fn narrow(&mut self, code: u8) {
        self.push(Operation { code, ..Operation::default() });
    }

    /// Something that the two topmost become.
    fn combine(&mut self, code: u8) {
        self.push(Operation { code, ..Operation::default() });
    }
}

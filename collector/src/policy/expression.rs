//! Reading `CelExpr`: a part of the Common Expression Language, on numbers alone.
//!
//! Values are `arg0`, `arg1` and so on: the arguments that the filter lists, in its order. Operators bind as in CEL's
//! grammar: `||`, `&&`, comparisons, `+` and `-`, `!` and `-` before a value. Both sides of an operator have one type; a
//! whole number without `u` takes the type of what stands on the other side, if it can have it there.

use trigon_probes::hooks::plan::EXPRESSION_OPERATIONS;

use super::{
    compile::expression::{TooLarge, operations},
    model::{
        arguments::{ArgumentSlot, Integer},
        expressions::{Binary, Expression, Node, Type, Unary},
    },
};

#[cfg(test)]
mod tests;

/// An argument that an expression may name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Which of the hook's.
    pub slot: ArgumentSlot,
    /// What number it is; none where it isn't one.
    pub integer: Option<Integer>,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of the expression: {message}")]
pub struct Mistake {
    /// Where, in characters from 1.
    pub column: usize,
    /// What.
    pub message: String,
}

/// How deep parentheses and operators may nest.
const DEPTH: usize = 32;

/// Reads an expression.
///
/// # Errors
/// Tells the first thing that is wrong with it.
pub fn read(text: &str, arguments: &[Named]) -> Result<Expression, Mistake> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, arguments };
    let root = parser.either()?;
    if let Some(token) = parser.peek() {
        return Err(mistake(token.column, format!("there is {} too much", token.kind)));
    }
    if root.kind() != Type::Bool {
        let message = format!("this is {} and says nothing: compare it with something", article(root.kind()));
        return Err(mistake(1, message));
    }
    let expression = Expression { root };
    if expression.arguments().is_empty() {
        return Err(mistake(1, "it names no argument, and so is always the same"));
    }
    match operations(&expression, |_| 0) {
        Ok(_) => Ok(expression),
        Err(TooLarge) => {
            Err(mistake(1, format!("it takes more than {EXPRESSION_OPERATIONS} operations in the kernel")))
        }
    }
}

/// A word of an expression and where it begins.
#[derive(Clone, Debug)]
struct Token<'a> {
    column: usize,
    kind: TokenKind<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenKind<'a> {
    Word(&'a str),
    Number { value: u64, unsigned: bool },
    Sign(&'static str),
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    arguments: &'a [Named],
}

/// The longer ones first.
const SIGNS: [&str; 14] = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "!", "(", ")", ","];

fn mistake(column: usize, message: impl Into<String>) -> Mistake {
    Mistake { column, message: message.into() }
}

fn article(kind: Type) -> String {
    let article = if matches!(kind, Type::I32 | Type::I64) { "an" } else { "a" };
    format!("{article} {}", kind.name())
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Mistake> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut column = 1;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_ascii_whitespace() {
            1
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token { column, kind: TokenKind::Sign(sign) });
            sign.len()
        } else {
            let part_of_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
            let word = rest.split(|character| !part_of_word(character)).next().unwrap_or_default();
            if word.is_empty() {
                return Err(mistake(column, format!("{first:?} has no meaning here")));
            }
            let kind = if first.is_ascii_digit() { number(word, column)? } else { TokenKind::Word(word) };
            found.push(Token { column, kind });
            word.len()
        };
        // Everything that is taken is ASCII: a byte is a character.
        rest = &rest[length..];
        column += length;
    }
    Ok(found)
}

fn number(word: &str, column: usize) -> Result<TokenKind<'_>, Mistake> {
    let (digits, unsigned) = match word.strip_suffix(['u', 'U']) {
        Some(digits) => (digits, true),
        None => (word, false),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let value = match hexadecimal {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    value
        .map(|value| TokenKind::Number { value, unsigned })
        .map_err(|_| mistake(column, format!("{word} is no number of 64 bits")))
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at)
    }

    /// Takes the next word if it is one of these signs.
    fn take(&mut self, signs: &[&'static str]) -> Option<(&'static str, usize)> {
        match self.peek()? {
            Token { column, kind: TokenKind::Sign(sign) } if signs.contains(sign) => {
                self.at += 1;
                Some((sign, *column))
            }
            _ => None,
        }
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Mistake> {
        match self.take(&[sign]) {
            Some(_) => Ok(()),
            None => Err(self.unexpected(sign)),
        }
    }

    fn unexpected(&self, wanted: &str) -> Mistake {
        match self.peek() {
            Some(token) => {
                mistake(token.column, format!("there is {} where {wanted} was expected", token.kind))
            }
            None => {
                let end = self.tokens.last().map_or(1, |token| token.column + token.kind.width());
                mistake(end, format!("it ends where {wanted} was expected"))
            }
        }
    }

    /// One level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Mistake>) -> Result<T, Mistake> {
        if self.depth >= DEPTH {
            let column = self.peek().map_or(1, |token| token.column);
            return Err(mistake(column, format!("it nests more than {DEPTH} levels deep")));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn either(&mut self) -> Result<Node, Mistake> {
        self.chain(&["||"], Self::both)
    }

    fn both(&mut self) -> Result<Node, Mistake> {
        self.chain(&["&&"], Self::relation)
    }

    fn relation(&mut self) -> Result<Node, Mistake> {
        self.chain(&["==", "!=", "<", "<=", ">", ">="], Self::sum)
    }

    fn sum(&mut self) -> Result<Node, Mistake> {
        self.chain(&["+", "-"], Self::signed)
    }

    /// Operands of one level, from left to right.
    fn chain(
        &mut self,
        signs: &[&'static str],
        operand: fn(&mut Self) -> Result<Node, Mistake>,
    ) -> Result<Node, Mistake> {
        let mut left = operand(self)?;
        while let Some((sign, column)) = self.take(signs) {
            let right = operand(self)?;
            left = binary(sign, column, left, right)?;
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Node, Mistake> {
        match self.take(&["!", "-"]) {
            Some(("!", column)) => {
                let operand = self.nested(Self::signed)?;
                if operand.kind() != Type::Bool {
                    let message =
                        format!("! is for what is true or false, and this is {}", article(operand.kind()));
                    return Err(mistake(column, message));
                }
                Ok(Node::Unary(Unary::LogicalNot, Box::new(operand)))
            }
            Some((_, column)) => {
                // The least number has no positive twin.
                if let Some(Token { kind: TokenKind::Number { value, unsigned: false }, .. }) = self.peek() {
                    self.at += 1;
                    return whole(-i128::from(*value), column);
                }
                let operand = self.nested(Self::signed)?;
                let kind = operand.kind();
                if !matches!(kind, Type::I32 | Type::I64) {
                    return Err(mistake(
                        column,
                        format!("- is for numbers with a sign, and this is {}", article(kind)),
                    ));
                }
                let zero = Box::new(Node::Constant(kind, 0));
                Ok(Node::Binary(Binary::Subtract, zero, Box::new(operand)))
            }
            None => self.value(),
        }
    }

    fn value(&mut self) -> Result<Node, Mistake> {
        if self.take(&["("]).is_some() {
            let inner = self.nested(Self::either)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let Some(Token { column, kind }) = self.peek() else { return Err(self.unexpected("a value")) };
        match *kind {
            TokenKind::Sign(_) => Err(self.unexpected("a value")),
            TokenKind::Number { value, unsigned: true } => {
                self.at += 1;
                Ok(Node::Constant(Type::U64, i128::from(value)))
            }
            TokenKind::Number { value, unsigned: false } => {
                self.at += 1;
                whole(i128::from(value), *column)
            }
            TokenKind::Word(word) => {
                self.at += 1;
                match word {
                    "true" | "false" => Ok(Node::Constant(Type::Bool, i128::from(word == "true"))),
                    "int32" | "uint32" | "not" | "and" | "or" | "xor" => {
                        let operands = self.operands()?;
                        function(word, *column, operands)
                    }
                    _ => self.argument(word, *column),
                }
            }
        }
    }

    /// What stands in a function's parentheses.
    fn operands(&mut self) -> Result<Vec<Node>, Mistake> {
        self.expect("(")?;
        let mut found = vec![self.nested(Self::either)?];
        while self.take(&[","]).is_some() {
            found.push(self.nested(Self::either)?);
        }
        self.expect(")")?;
        Ok(found)
    }

    fn argument(&self, word: &str, column: usize) -> Result<Node, Mistake> {
        let place = word.strip_prefix("arg").and_then(|digits| digits.parse::<usize>().ok());
        let Some(place) = place else {
            return Err(mistake(column, format!("there is nothing of the name {word}")));
        };
        let Some(named) = self.arguments.get(place) else {
            let message = match self.arguments.len() {
                0 => format!("{word}: the filter has no args"),
                count => format!("{word}: the filter's args are arg0 to arg{}", count - 1),
            };
            return Err(mistake(column, message));
        };
        match named.integer {
            Some(integer) => Ok(Node::Argument(named.slot, type_of(integer))),
            None => Err(mistake(column, format!("{word} is no number"))),
        }
    }
}

/// The type that an argument has in an expression: 32 bits or 64.
fn type_of(integer: Integer) -> Type {
    match (integer.is_signed(), integer.width()) {
        (true, 8) => Type::I64,
        (false, 8) => Type::U64,
        (true, _) => Type::I32,
        (false, _) => Type::U32,
    }
}

fn whole(value: i128, column: usize) -> Result<Node, Mistake> {
    let (least, greatest) = Type::I64.bounds();
    if !(least..=greatest).contains(&value) {
        let message = format!("{value} is more than an int holds: a uint ends in u");
        return Err(mistake(column, message));
    }
    Ok(Node::Constant(Type::I64, value))
}

fn binary(sign: &str, column: usize, left: Node, right: Node) -> Result<Node, Mistake> {
    let (left, right) = alike(sign, column, left, right)?;
    let operation = match sign {
        "||" => Binary::LogicalOr,
        "&&" => Binary::LogicalAnd,
        "==" => Binary::Equal,
        "!=" => Binary::NotEqual,
        "<" => Binary::Less,
        "<=" => Binary::LessOrEqual,
        ">" => Binary::Greater,
        ">=" => Binary::GreaterOrEqual,
        "+" => Binary::Add,
        _ => Binary::Subtract,
    };
    let logical = matches!(operation, Binary::LogicalAnd | Binary::LogicalOr);
    let either = matches!(operation, Binary::Equal | Binary::NotEqual);
    if !either && logical != (left.kind() == Type::Bool) {
        let needs = if logical { "what is true or false" } else { "numbers" };
        return Err(mistake(column, format!("{sign} is for {needs}, and this is {}", article(left.kind()))));
    }
    Ok(Node::Binary(operation, Box::new(left), Box::new(right)))
}

fn function(name: &str, column: usize, operands: Vec<Node>) -> Result<Node, Mistake> {
    let wanted = if matches!(name, "and" | "or" | "xor") { 2 } else { 1 };
    let count = operands.len();
    let mut operands = operands.into_iter();
    let (Some(first), second, None) = (operands.next(), operands.next(), operands.next()) else {
        return Err(mistake(column, format!("{name} takes {wanted} operands, and here are {count}")));
    };
    if count != wanted {
        return Err(mistake(column, format!("{name} takes {wanted} operands, and here are {count}")));
    }
    let (first, second) = match second {
        Some(second) => {
            let (first, second) = alike(name, column, first, second)?;
            (first, Some(second))
        }
        None => (first, None),
    };
    let refuse = |needs: &str, kind: Type| {
        Err(mistake(column, format!("{name} is for {needs}, and this is {}", article(kind))))
    };
    if first.kind() == Type::Bool {
        return refuse("numbers", Type::Bool);
    }
    let unary = |operation, operand| Ok(Node::Unary(operation, Box::new(operand)));
    match (name, second) {
        ("and", Some(second)) => Ok(Node::Binary(Binary::And, Box::new(first), Box::new(second))),
        ("or", Some(second)) => Ok(Node::Binary(Binary::Or, Box::new(first), Box::new(second))),
        ("xor", Some(second)) => Ok(Node::Binary(Binary::Xor, Box::new(first), Box::new(second))),
        ("int32", _) if first.kind() == Type::I64 => unary(Unary::ToI32, first),
        ("int32", _) => refuse("an int", first.kind()),
        ("uint32", _) => match adapted(first, Type::U64) {
            Ok(first) => unary(Unary::ToU32, first),
            Err(first) => refuse("a uint", first.kind()),
        },
        _ => unary(Unary::Not, first),
    }
}

/// Gives both operands one type, where one of them is a whole number that can have that of the other.
fn alike(sign: &str, column: usize, left: Node, right: Node) -> Result<(Node, Node), Mistake> {
    if left.kind() == right.kind() {
        return Ok((left, right));
    }
    let (left_kind, right_kind) = (left.kind(), right.kind());
    let left = match adapted(left, right_kind) {
        Ok(left) => return Ok((left, right)),
        Err(left) => left,
    };
    match adapted(right, left_kind) {
        Ok(right) => Ok((left, right)),
        Err(_) => {
            let (one, other) = (article(left_kind), article(right_kind));
            Err(mistake(column, format!("{sign} has {one} on its left and {other} on its right")))
        }
    }
}

/// A whole number as one of another type; the node itself where it is no such number.
fn adapted(node: Node, kind: Type) -> Result<Node, Node> {
    let (least, greatest) = kind.bounds();
    match node {
        Node::Constant(Type::I64, value) if kind != Type::Bool && (least..=greatest).contains(&value) => {
            Ok(Node::Constant(kind, value))
        }
        other if other.kind() == kind => Ok(other),
        other => Err(other),
    }
}

// === impl TokenKind ===

impl TokenKind<'_> {
    fn width(&self) -> usize {
        self.to_string().len()
    }
}

impl std::fmt::Display for TokenKind<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => formatter.write_str(word),
            Self::Number { value, unsigned } => {
                write!(formatter, "{value}{}", if *unsigned { "u" } else { "" })
            }
            Self::Sign(sign) => formatter.write_str(sign),
        }
    }
}

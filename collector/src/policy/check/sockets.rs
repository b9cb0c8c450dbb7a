//! What ports, addresses and names of sockets a policy may give.

use std::{borrow::Cow, net::IpAddr};

use trigon_exporters::{names::sockets, nearest::nearest};

use super::{
    super::{
        fault::{Class, Quoted},
        model::{
            Located,
            conditions::{Condition, End, Field, Network, Number, NumberRange, Operator},
        },
    },
    Refused, Wrong, each, integer,
};

/// Ports below this are for root alone: the kernel's PROT_SOCK.
const PRIVILEGED: i128 = 1024;

/// A number of 16 bits with names for some of its values.
struct Named {
    /// What it is.
    what: &'static str,
    /// What all names begin with.
    prefix: &'static str,
    name: fn(u16) -> Cow<'static, str>,
    /// The last that has a name.
    last: u16,
}

const FAMILIES: Named = Named { what: "family", prefix: "AF_", name: sockets::family, last: 45 };
const PROTOCOLS: Named = Named { what: "protocol", prefix: "IPPROTO_", name: sockets::protocol, last: 262 };
const STATES: Named = Named { what: "state", prefix: "TCP_", name: state, last: 13 };

fn state(number: u16) -> Cow<'static, str> {
    u8::try_from(number).map_or_else(|_| number.to_string().into(), sockets::socket_state)
}

/// The condition of an operator on a socket, a packet or an address.
pub(super) fn condition(operator: Operator, values: &[Located<String>]) -> Result<Condition, Vec<Wrong>> {
    let negated = matches!(
        operator,
        Operator::NotSPort
            | Operator::NotSPortPriv
            | Operator::NotDPort
            | Operator::NotDPortPriv
            | Operator::NotSAddr
            | Operator::NotDAddr
    );
    let numbers = |field, ranges| Condition::Field { field, negated, ranges };
    let privileged = || vec![NumberRange { first: Number(0), last: Number(PRIVILEGED - 1) }];
    let addresses = |end| each(values, network).map(|networks| Condition::Address { end, negated, networks });
    match operator {
        Operator::SPortPriv | Operator::NotSPortPriv => Ok(numbers(Field::SourcePort, privileged())),
        Operator::DPortPriv | Operator::NotDPortPriv => Ok(numbers(Field::DestinationPort, privileged())),
        Operator::SPort | Operator::NotSPort => {
            each(values, ports).map(|ranges| numbers(Field::SourcePort, ranges))
        }
        Operator::DPort | Operator::NotDPort => {
            each(values, ports).map(|ranges| numbers(Field::DestinationPort, ranges))
        }
        Operator::SAddr | Operator::NotSAddr => addresses(End::Source),
        Operator::DAddr | Operator::NotDAddr => addresses(End::Destination),
        Operator::Family => {
            each(values, |text| FAMILIES.number(text)).map(|ranges| numbers(Field::Family, ranges))
        }
        Operator::State => {
            each(values, |text| STATES.number(text)).map(|ranges| numbers(Field::State, ranges))
        }
        _ => each(values, |text| PROTOCOLS.number(text)).map(|ranges| numbers(Field::Protocol, ranges)),
    }
}

fn port(text: &str) -> Option<Number> {
    integer(text).filter(|port| (0..=i128::from(u16::MAX)).contains(port)).map(Number)
}

/// A port, or some in a row.
fn ports(text: &str) -> Result<NumberRange, Refused> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let refused = |message: String| (Class::Invalid, message, Some("0 to 65535, or FIRST:LAST".to_owned()));
    let (Some(first), Some(last)) = (port(first), port(last)) else {
        return Err(refused(format!("{} is no port", Quoted(text))));
    };
    if last < first {
        return Err(refused(format!("the range {} ends before it begins", Quoted(text))));
    }
    Ok(NumberRange { first, last })
}

/// An address, or a network of them. As Tetragon's, its address may have bits that its length leaves out.
fn network(text: &str) -> Result<Network, Refused> {
    let refused = |message: String| {
        let allowed = "an address as 10.0.0.1 or fe80::1, or a network as 10.0.0.0/8".to_owned();
        (Class::Invalid, message, Some(allowed))
    };
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(refused(format!("{} is no address", Quoted(address))));
    };
    let (mapped, address) = (address.is_ipv6() && address.to_canonical().is_ipv4(), address.to_canonical());
    let width: u8 = if address.is_ipv4() { 32 } else { 128 };
    // Of one that is mapped the length counts the 96 bits before it, too.
    let skipped = if mapped { 96 } else { 0 };
    let bits = match bits {
        None => Some(width),
        Some(bits) if bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            bits.parse::<u8>().ok().and_then(|bits| bits.checked_sub(skipped)).filter(|bits| *bits <= width)
        }
        Some(_) => None,
    };
    match bits {
        Some(bits) => Ok(Network { address, bits }),
        None => {
            let message = format!("{} has no length of {skipped} to {} bits", Quoted(text), width + skipped);
            Err(refused(message))
        }
    }
}

// === impl Named ===

impl Named {
    fn names(&self) -> impl Iterator<Item = (u16, Cow<'static, str>)> {
        let known = |(_, name): &(u16, Cow<'static, str>)| name.starts_with(self.prefix);
        (0..=self.last).map(|number| (number, (self.name)(number))).filter(known)
    }

    /// By its number, its name, or its name without what all begin with.
    fn number(&self, text: &str) -> Result<NumberRange, Refused> {
        let same = |name: &str| {
            name.eq_ignore_ascii_case(text) || name[self.prefix.len()..].eq_ignore_ascii_case(text)
        };
        let named = self.names().find(|(_, name)| same(name)).map(|(number, _)| i128::from(number));
        let number =
            named.or_else(|| integer(text).filter(|number| (0..=i128::from(u16::MAX)).contains(number)));
        if let Some(number) = number.map(Number) {
            return Ok(NumberRange { first: number, last: number });
        }
        let names: Vec<_> = self.names().map(|(_, name)| name).collect();
        let meant = nearest(text, names.iter().map(|name| &**name));
        let hint = meant.map(|meant| format!(": did you mean {meant}?")).unwrap_or_default();
        let message = format!("no such {}: {}{hint}", self.what, Quoted(text));
        Err((Class::Invalid, message, Some(format!("a number, or a name as {}", self.example()))))
    }

    fn example(&self) -> &'static str {
        match self.prefix {
            "AF_" => "AF_INET",
            "TCP_" => "TCP_ESTABLISHED",
            _ => "IPPROTO_TCP",
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::Position;

    fn read(operator: Operator, values: &[&str]) -> Result<Condition, Vec<String>> {
        let located =
            |value: &&str| Located { at: Position { line: 1, column: 1 }, value: (*value).to_owned() };
        let values: Vec<_> = values.iter().map(located).collect();
        condition(operator, &values).map_err(|wrong| wrong.into_iter().map(|wrong| wrong.message).collect())
    }

    #[test]
    fn networks_are_read() {
        let network = |address: &str, bits| Network { address: address.parse().unwrap(), bits };
        for (text, expected) in [
            ("10.1.2.3", network("10.1.2.3", 32)),
            ("127.0.0.1/8", network("127.0.0.1", 8)),
            ("0.0.0.0/0", network("0.0.0.0", 0)),
            ("fe80::1", network("fe80::1", 128)),
            ("2001:db8::/32", network("2001:db8::", 32)),
            ("::ffff:10.0.0.0/104", network("10.0.0.0", 8)),
        ] {
            let expected = Condition::Address { end: End::Source, negated: true, networks: vec![expected] };
            assert_eq!(read(Operator::NotSAddr, &[text]), Ok(expected), "{text}");
        }
        let wrong = read(
            Operator::DAddr,
            &["10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "::ffff:10.0.0.0/8", "a", ""],
        );
        insta::assert_snapshot!(wrong.unwrap_err().join("\n"));
    }

    #[test]
    fn a_network_has_what_begins_like_it() {
        let has = |network: &str, address: &str| {
            let Ok(network) = super::network(network) else { panic!("{network}") };
            network.has(address.parse().unwrap())
        };
        assert!(has("127.0.0.1/8", "127.9.9.9") && !has("127.0.0.1/8", "128.0.0.1"));
        assert!(has("0.0.0.0/0", "::ffff:1.2.3.4") && !has("::/0", "::ffff:1.2.3.4") && has("::/0", "::1"));
        assert!(has("10.0.0.7/31", "10.0.0.6") && !has("10.0.0.7", "10.0.0.6"));
        assert!(has("fe80::/10", "febf::1") && !has("fe80::/10", "fec0::1"));
    }

    #[test]
    fn ports_and_names_are_read() {
        let range = |first, last| NumberRange { first: Number(first), last: Number(last) };
        let field = |field, ranges| Ok(Condition::Field { field, negated: false, ranges });
        let ports = read(Operator::DPort, &["443", "1024:65535"]);
        assert_eq!(ports, field(Field::DestinationPort, vec![range(443, 443), range(1024, 65_535)]));
        assert_eq!(read(Operator::SPortPriv, &[]), field(Field::SourcePort, vec![range(0, 1023)]));
        let families = read(Operator::Family, &["AF_INET", "inet6", "16"]);
        assert_eq!(families, field(Field::Family, vec![range(2, 2), range(10, 10), range(16, 16)]));
        let protocols = read(Operator::Protocol, &["IPPROTO_TCP", "UDP", "262"]);
        assert_eq!(protocols, field(Field::Protocol, vec![range(6, 6), range(17, 17), range(262, 262)]));
        let states = read(Operator::State, &["TCP_LISTEN", "established"]);
        assert_eq!(states, field(Field::State, vec![range(10, 10), range(1, 1)]));
        let wrong = [
            read(Operator::SPort, &["65536", "2:1", "http", "1:2:3"]),
            read(Operator::Family, &["AF_INET4", "65536"]),
            read(Operator::State, &["TCP_LISTENING", ""]),
            read(Operator::Protocol, &["IPPROTO_TPC"]),
        ];
        let wrong: Vec<String> = wrong.into_iter().flat_map(Result::unwrap_err).collect();
        insta::assert_snapshot!(wrong.join("\n"));
    }
}

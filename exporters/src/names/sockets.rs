//! Names of what sockets and packets are: families, types, protocols, states.

use std::borrow::Cow;

/// Families by their numbers (include/linux/socket.h).
const FAMILIES: [&str; 46] = [
    "AF_UNSPEC",
    "AF_UNIX",
    "AF_INET",
    "AF_AX25",
    "AF_IPX",
    "AF_APPLETALK",
    "AF_NETROM",
    "AF_BRIDGE",
    "AF_ATMPVC",
    "AF_X25",
    "AF_INET6",
    "AF_ROSE",
    "AF_DECnet",
    "AF_NETBEUI",
    "AF_SECURITY",
    "AF_KEY",
    "AF_NETLINK",
    "AF_PACKET",
    "AF_ASH",
    "AF_ECONET",
    "AF_ATMSVC",
    "AF_RDS",
    "AF_SNA",
    "AF_IRDA",
    "AF_PPPOX",
    "AF_WANPIPE",
    "AF_LLC",
    "AF_IB",
    "AF_MPLS",
    "AF_CAN",
    "AF_TIPC",
    "AF_BLUETOOTH",
    "AF_IUCV",
    "AF_RXRPC",
    "AF_ISDN",
    "AF_PHONET",
    "AF_IEEE802154",
    "AF_CAIF",
    "AF_ALG",
    "AF_NFC",
    "AF_VSOCK",
    "AF_KCM",
    "AF_QIPCRTR",
    "AF_SMC",
    "AF_XDP",
    "AF_MCTP",
];

/// States by their numbers (include/net/tcp_states.h); the first is nobody's.
const STATES: [&str; 14] = [
    "",
    "TCP_ESTABLISHED",
    "TCP_SYN_SENT",
    "TCP_SYN_RECV",
    "TCP_FIN_WAIT1",
    "TCP_FIN_WAIT2",
    "TCP_TIME_WAIT",
    "TCP_CLOSE",
    "TCP_CLOSE_WAIT",
    "TCP_LAST_ACK",
    "TCP_LISTEN",
    "TCP_CLOSING",
    "TCP_NEW_SYN_RECV",
    "TCP_BOUND_INACTIVE",
];

/// Protocols (include/uapi/linux/in.h).
const PROTOCOLS: [(u16, &str); 29] = [
    (0, "IPPROTO_IP"),
    (1, "IPPROTO_ICMP"),
    (2, "IPPROTO_IGMP"),
    (4, "IPPROTO_IPIP"),
    (6, "IPPROTO_TCP"),
    (8, "IPPROTO_EGP"),
    (12, "IPPROTO_PUP"),
    (17, "IPPROTO_UDP"),
    (22, "IPPROTO_IDP"),
    (29, "IPPROTO_TP"),
    (33, "IPPROTO_DCCP"),
    (41, "IPPROTO_IPV6"),
    (46, "IPPROTO_RSVP"),
    (47, "IPPROTO_GRE"),
    (50, "IPPROTO_ESP"),
    (51, "IPPROTO_AH"),
    (58, "IPPROTO_ICMPV6"),
    (92, "IPPROTO_MTP"),
    (94, "IPPROTO_BEETPH"),
    (98, "IPPROTO_ENCAP"),
    (103, "IPPROTO_PIM"),
    (108, "IPPROTO_COMP"),
    (132, "IPPROTO_SCTP"),
    (136, "IPPROTO_UDPLITE"),
    (137, "IPPROTO_MPLS"),
    (143, "IPPROTO_ETHERNET"),
    (255, "IPPROTO_RAW"),
    (256, "IPPROTO_SMC"),
    (262, "IPPROTO_MPTCP"),
];

/// The name of a family: `AF_INET`; its number where it has none.
pub fn family(number: u16) -> Cow<'static, str> {
    named(&FAMILIES, number)
}

/// The name of a socket's type (`enum sock_type`): `SOCK_STREAM`; its number where it has none.
pub fn socket_type(number: u16) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        1 => "SOCK_STREAM",
        2 => "SOCK_DGRAM",
        3 => "SOCK_RAW",
        4 => "SOCK_RDM",
        5 => "SOCK_SEQPACKET",
        6 => "SOCK_DCCP",
        10 => "SOCK_PACKET",
        other => return Cow::Owned(other.to_string()),
    })
}

/// The name of a protocol above IP: `IPPROTO_TCP`; its number where it has none.
pub fn protocol(number: u16) -> Cow<'static, str> {
    match PROTOCOLS.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(number.to_string()),
    }
}

/// The name of a socket's state: `TCP_LISTEN`; its number where it has none.
pub fn socket_state(number: u8) -> Cow<'static, str> {
    named(&STATES, u16::from(number))
}

fn named(names: &[&'static str], number: u16) -> Cow<'static, str> {
    match names.get(usize::from(number)) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_headers() {
        for (number, name) in [
            (1, "AF_UNIX"),
            (2, "AF_INET"),
            (10, "AF_INET6"),
            (16, "AF_NETLINK"),
            (40, "AF_VSOCK"),
            (46, "46"),
            (u16::MAX, "65535"),
        ] {
            assert_eq!(family(number), name);
        }
        assert_eq!((socket_type(1), socket_type(99)), ("SOCK_STREAM".into(), "99".into()));
        assert_eq!(
            (protocol(6), protocol(58), protocol(7)),
            ("IPPROTO_TCP".into(), "IPPROTO_ICMPV6".into(), "7".into())
        );
        assert_eq!(
            (socket_state(10), socket_state(0), socket_state(14)),
            ("TCP_LISTEN".into(), "".into(), "14".into())
        );
    }
}

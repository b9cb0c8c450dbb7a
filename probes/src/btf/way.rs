//! Ways through the kernel's structs: from `mm.owner.real_parent.comm` to the offsets and pointers that lead there.

use super::{Btf, STEPS, Type, kind, word};
use crate::{
    hooks::plan::{CHAIN_STEPS, Chain},
    types::Shape,
};

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// How the programs get there from a pointer to the struct that it begins at.
    pub chain: Chain,
    /// What is there, as C writes it.
    pub text: String,
    /// What is there.
    pub end: End,
}

/// What is at the end of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A number.
    Number {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// It has a sign.
        signed: bool,
    },
    /// Characters: a pointer to them, or an array of them.
    Text,
    /// A pointer to a struct or union of this name; or, without a name, to anything else.
    Pointer(String),
    /// A struct or union itself, of this name; without a name for one that has none.
    Struct {
        /// Its name.
        name: String,
        /// Its bytes.
        bytes: u32,
    },
    /// Anything else: an array, a function.
    Other,
}

/// A path that leads nowhere. A component is named as the path has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WayError {
    /// There is no such struct.
    #[error("this kernel has no struct {0}")]
    NoStruct(String),
    /// Something that is no name, and no name with an index.
    #[error("{0:?} is no name of a member")]
    Component(String),
    /// A struct has no such member.
    #[error("{of} has no member {member}")]
    NoMember {
        /// The struct, as C writes it.
        of: String,
        /// What was looked for.
        member: String,
        /// What it has.
        known: Vec<String>,
    },
    /// There is more path, and no struct.
    #[error("{component} is `{text}`, which has no members")]
    NoMembers {
        /// The component, or the struct that the way begins at.
        component: String,
        /// Its type, as C writes it.
        text: String,
    },
    /// An index into what has no items.
    #[error("{component} is `{text}`, which has no items")]
    NoItems {
        /// The component.
        component: String,
        /// Its type, as C writes it.
        text: String,
    },
    /// An index beyond an array's end.
    #[error("{component} has {items} items: [{index}] is none of them")]
    Index {
        /// The component.
        component: String,
        /// The index.
        index: u32,
        /// How many items there are.
        items: u32,
    },
    /// More pointers than the programs follow.
    #[error("the path follows more pointers than {limit}", limit = CHAIN_STEPS - 1)]
    TooLong,
}

/// A place on the way: a type, and how many bytes there are to it from the last pointer.
struct Place {
    chain: Chain,
    id: u32,
    offset: u32,
    bits: Option<Bits>,
}

/// A bit field: where it begins in its struct, and how many bits it has.
#[derive(Clone, Copy)]
struct Bits {
    first: u32,
    count: u8,
}

struct Member {
    id: u32,
    /// In bits.
    offset: u32,
    bits: u8,
}

/// Bytes of a pointer.
const POINTER: u32 = 8;

// === impl Btf ===

impl Btf {
    /// The way along a path of members, with a dot between two and `[N]` for an item of an array, from a pointer to the
    /// struct or union of that name. Members of anonymous structs are those of what they are in.
    ///
    /// # Errors
    /// Says which component isn't there.
    pub fn way(&self, start: &str, path: &str) -> Result<Way, WayError> {
        let start = ["struct ", "union "].iter().find_map(|sort| start.strip_prefix(sort)).unwrap_or(start);
        let id = self.composite(start).ok_or_else(|| WayError::NoStruct(start.to_owned()))?;
        let mut place = Place { chain: Chain::default(), id, offset: 0, bits: None };
        let mut reached = format!("struct {start}");
        for component in path.split('.') {
            let (name, indices) =
                parse(component).ok_or_else(|| WayError::Component(component.to_owned()))?;
            self.enter(&mut place, &reached)?;
            self.descend(&mut place, name)?;
            for index in indices {
                self.item(&mut place, name, index)?;
            }
            component.clone_into(&mut reached);
        }
        self.arrive(place)
    }

    /// The struct or union of that name that has members.
    fn composite(&self, name: &str) -> Option<u32> {
        let is = |at: &u32| {
            super::read(&self.bytes, *at as usize).is_some_and(|one| {
                matches!(one.kind, kind::STRUCT | kind::UNION | kind::TYPEDEF)
                    && self.name(one.name) == name.as_bytes()
            })
        };
        let number = |index: usize| u32::try_from(index + 1).ok();
        let mut found = (0..self.types.len()).filter(|index| is(&self.types[*index])).filter_map(number);
        found.find(|id| self.bare(*id).is_some_and(|one| matches!(one.kind, kind::STRUCT | kind::UNION)))
    }

    /// Follows the pointer that stands before the next member, if one does.
    fn enter(&self, place: &mut Place, component: &str) -> Result<(), WayError> {
        if let Some(pointer) = self.bare(place.id).filter(|one| one.kind == kind::PTR) {
            follow(place)?;
            place.id = pointer.size_or_type;
        }
        match self.bare(place.id) {
            Some(one) if matches!(one.kind, kind::STRUCT | kind::UNION) => Ok(()),
            _ => Err(WayError::NoMembers { component: component.to_owned(), text: self.text(place.id) }),
        }
    }

    fn descend(&self, place: &mut Place, name: &str) -> Result<(), WayError> {
        let missing = || WayError::NoMember {
            of: self.text(place.id),
            member: name.to_owned(),
            known: self.bare(place.id).map(|of| self.members(of, STEPS)).unwrap_or_default(),
        };
        let member = self.bare(place.id).and_then(|of| self.member(of, name, STEPS)).ok_or_else(missing)?;
        place.bits = (member.bits > 0).then_some(Bits { first: member.offset, count: member.bits });
        place.id = member.id;
        if place.bits.is_none() {
            place.offset = place.offset.saturating_add(member.offset / 8);
        }
        Ok(())
    }

    fn item(&self, place: &mut Place, component: &str, index: u32) -> Result<(), WayError> {
        let none = || WayError::NoItems { component: component.to_owned(), text: self.text(place.id) };
        let of = self.bare(place.id).ok_or_else(none)?;
        let item = match of.kind {
            kind::ARRAY => {
                let (item, items) = self.array(of).ok_or_else(none)?;
                // The kernel's arrays of no items are as long as their memory.
                if items > 0 && index >= items {
                    return Err(WayError::Index { component: component.to_owned(), index, items });
                }
                item
            }
            kind::PTR => of.size_or_type,
            _ => return Err(none()),
        };
        let size = self.size(item, STEPS).filter(|size| *size > 0).ok_or_else(none)?;
        let skipped = size.checked_mul(index).ok_or_else(none)?;
        if of.kind == kind::PTR {
            follow(place)?;
        }
        place.offset = place.offset.saturating_add(skipped);
        place.id = item;
        Ok(())
    }

    fn arrive(&self, mut place: Place) -> Result<Way, WayError> {
        let text = self.text(place.id);
        let mut end = self.end(place.id);
        let (width, signed) = match &end {
            End::Number { bytes, signed } => (*bytes, *signed),
            // An array of characters is where it is.
            End::Text if self.bare(place.id).is_some_and(|one| one.kind == kind::ARRAY) => (0, false),
            End::Text | End::Pointer(_) => (POINTER as u8, false),
            End::Struct { .. } | End::Other => (0, false),
        };
        place.chain.width = width;
        place.chain.is_signed = u8::from(signed);
        if let (Some(bits), End::Number { bytes, .. }) = (place.bits, &mut end) {
            // A number of its type, or a wider one, that holds all of its bits.
            let begin = |wide: u32| bits.first / (8 * wide) * wide;
            let fits = |wide: &u32| bits.first - 8 * begin(*wide) + u32::from(bits.count) <= 8 * wide;
            let wide = [1, 2, 4, 8].into_iter().filter(|wide| *wide >= u32::from(*bytes)).find(fits);
            let wide = wide.unwrap_or(8);
            place.offset = place.offset.saturating_add(begin(wide));
            place.chain.width = wide as u8;
            place.chain.shift = (bits.first - 8 * begin(wide)) as u8;
            place.chain.bits = bits.count;
        }
        let last = place.chain.offset.get_mut(usize::from(place.chain.steps));
        *last.ok_or(WayError::TooLong)? = place.offset;
        place.chain.steps += 1;
        Ok(Way { chain: place.chain, text, end })
    }

    fn end(&self, id: u32) -> End {
        let Some(one) = self.bare(id) else { return End::Other };
        let named = |one: Type| String::from_utf8_lossy(self.name(one.name)).into_owned();
        match one.kind {
            kind::STRUCT | kind::UNION => End::Struct { name: named(one), bytes: one.size_or_type },
            kind::ARRAY => {
                let item = self.array(one).and_then(|(item, _)| self.bare(item));
                let is_text =
                    item.is_some_and(|item| item.kind == kind::INT && self.name(item.name) == b"char");
                if is_text { End::Text } else { End::Other }
            }
            _ => match self.shape(id) {
                Shape::Integer { bytes, signed } => End::Number { bytes, signed },
                Shape::Text => End::Text,
                Shape::Pointer(name) => End::Pointer(name),
                Shape::Void | Shape::Array { .. } | Shape::Other => End::Other,
            },
        }
    }

    fn member(&self, of: Type, name: &str, depth: usize) -> Option<Member> {
        let all = || (0..of.count).filter_map(|index| self.member_at(of, index));
        if let Some((_, member)) = all().find(|(found, _)| self.name(*found) == name.as_bytes()) {
            return Some(member);
        }
        if depth == 0 {
            return None;
        }
        all().filter(|(name, _)| self.name(*name).is_empty()).find_map(|(_, inner)| {
            let within = self.bare(inner.id).filter(|one| matches!(one.kind, kind::STRUCT | kind::UNION))?;
            let member = self.member(within, name, depth - 1)?;
            Some(Member { offset: inner.offset.saturating_add(member.offset), ..member })
        })
    }

    fn member_at(&self, of: Type, index: usize) -> Option<(u32, Member)> {
        let at = of.rest + 12 * index;
        let (name, id) = (word(&self.bytes, at)?, word(&self.bytes, at + 4)?);
        let offset = word(&self.bytes, at + 8)?;
        // Where a struct has bit fields, the upper byte says how many bits.
        let (offset, bits) = if of.flag { (offset & 0xff_ffff, (offset >> 24) as u8) } else { (offset, 0) };
        Some((name, Member { id, offset, bits: if bits > 64 { 0 } else { bits } }))
    }

    /// The names of a struct's members.
    fn members(&self, of: Type, depth: usize) -> Vec<String> {
        let mut names = Vec::new();
        for (name, member) in (0..of.count).filter_map(|index| self.member_at(of, index)) {
            let name = self.name(name);
            if !name.is_empty() {
                names.push(String::from_utf8_lossy(name).into_owned());
            } else if let Some(inner) =
                self.bare(member.id).filter(|one| depth > 0 && matches!(one.kind, kind::STRUCT | kind::UNION))
            {
                names.extend(self.members(inner, depth - 1));
            }
        }
        names
    }

    /// The type of an array's items, and how many there are.
    fn array(&self, of: Type) -> Option<(u32, u32)> {
        Some((word(&self.bytes, of.rest)?, word(&self.bytes, of.rest + 8)?))
    }

    fn size(&self, id: u32, depth: usize) -> Option<u32> {
        let one = self.bare(id)?;
        match one.kind {
            kind::PTR => Some(POINTER),
            kind::ARRAY if depth > 0 => {
                let (item, items) = self.array(one)?;
                self.size(item, depth - 1)?.checked_mul(items)
            }
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(one.size_or_type)
            }
            _ => None,
        }
    }

    fn text(&self, id: u32) -> String {
        let mut text = String::new();
        self.write(id, STEPS, &mut text);
        text
    }
}

fn follow(place: &mut Place) -> Result<(), WayError> {
    let steps = usize::from(place.chain.steps);
    // One is left for where the way ends.
    if steps + 1 >= CHAIN_STEPS {
        return Err(WayError::TooLong);
    }
    place.chain.offset[steps] = place.offset;
    place.chain.steps += 1;
    place.offset = 0;
    Ok(())
}

/// A component's name and its indices.
fn parse(component: &str) -> Option<(&str, Vec<u32>)> {
    let (name, mut rest) = component.split_at(component.find('[').unwrap_or(component.len()));
    let is_name = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !text.starts_with(|c: char| c.is_ascii_digit())
    };
    if name.is_empty() || !is_name(name) {
        return None;
    }
    let mut indices = Vec::new();
    while let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        indices.push(index.parse().ok()?);
        rest = after;
    }
    rest.is_empty().then_some((name, indices))
}

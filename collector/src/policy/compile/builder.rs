//! A table in the making: values that are looked at, and dimensions with what selectors ask of them.

use trigon_probes::hooks::{
    Entries, FIELDS, FieldUse, TablePlan,
    plan::{
        self, Chain, Dimension, Mask, Operation, Setting, Table, VALUES, ValueSpec, class, field, source,
        value_type,
    },
};

use super::{
    super::model::{
        arguments::{Argument, ArgumentType, Source},
        conditions::{End, Field, TextOperator},
        hooks::Point,
        selectors::Namespace,
    },
    CompileError, Host, Part,
    condition::{self, Networks, Numbers, Texts},
    expression, kind_of,
    lineage::Lineages,
    search::{self, Wanted},
};

/// A table in the making.
pub(super) struct Builder<'a> {
    pub(super) host: Host,
    pub(super) lineages: &'a mut Lineages,
    pub(super) values: Vec<ValueSpec>,
    pub(super) dimensions: Vec<Asked>,
    pub(super) selectors: Vec<plan::Selector>,
    pub(super) late: Mask,
    pub(super) captures: u16,
    fields: Vec<FieldUse>,
    chains: Vec<Chain>,
    settings: Vec<(u32, Setting)>,
}

/// A dimension and what selectors ask of it.
pub(super) struct Asked {
    value: u8,
    class: u8,
    late: bool,
    /// Of an endpoint.
    field: u8,
    conditions: Conditions,
}

pub(super) enum Conditions {
    Numbers(Vec<(usize, Numbers)>),
    Texts(Vec<(usize, Texts)>),
    Bits(Vec<(usize, u64, bool)>),
    Present(Vec<usize>),
    Addresses(Vec<(usize, Networks)>),
    Search(Vec<Wanted>),
    Expression(Vec<Operation>, Vec<usize>),
}

// === impl Builder ===

impl<'a> Builder<'a> {
    pub(super) fn new(host: Host, lineages: &'a mut Lineages) -> Self {
        Self {
            host,
            lineages,
            values: Vec::new(),
            dimensions: Vec::new(),
            selectors: Vec::new(),
            late: Mask::default(),
            captures: 0,
            fields: Vec::new(),
            chains: Vec::new(),
            settings: Vec::new(),
        }
    }

    // --- values ---

    pub(super) fn value(&mut self, spec: ValueSpec) -> Result<u8, CompileError> {
        if let Some(index) = self.values.iter().position(|known| *known == spec) {
            return Ok(index as u8);
        }
        if self.values.len() >= VALUES {
            return Err(CompileError::Full { what: "values", limit: VALUES });
        }
        self.values.push(spec);
        Ok(self.values.len() as u8 - 1)
    }

    pub(super) fn argument(&mut self, part: Part<'_>, argument: &Argument) -> Result<u8, CompileError> {
        /// What a buffer has at most: Tetragon's, and what a record can hold with `maxData`.
        const BUFFER: u32 = 4096;
        const MAX_DATA: u32 = 16_384;
        let (source, index) = match argument.source {
            Source::Call => (source::ARG, self.raw(part, argument.index, false)?),
            Source::CurrentTask => (source::CURRENT_TASK, 0),
            Source::Registers => (source::REGISTERS, 0),
        };
        let mut spec = ValueSpec { source, index, kind: kind_of(argument.kind)?, ..ValueSpec::default() };
        if let Some(path) = &argument.path {
            let unknown = CompileError::Unsupported("a path of members that this kernel was not asked for");
            spec.chain = self.chain(path.chain.ok_or(unknown)?);
        }
        if argument.kind.has_size() {
            spec.size_arg = self.size(part, argument)?;
            spec.most = if argument.max_data { MAX_DATA } else { BUFFER };
        }
        if argument.copy_at_return {
            spec.size_arg = plan::SIZE_RETURNED;
        }
        if part.follows && argument.kind == ArgumentType::Fd {
            spec.kind = value_type::FOLLOWED;
            spec.most = part.policy;
        }
        self.value(spec)
    }

    /// The number of a way to a value, from 1.
    fn chain(&mut self, chain: Chain) -> u32 {
        let known = self.chains.iter().position(|known| *known == chain);
        let index = known.unwrap_or_else(|| {
            self.chains.push(chain);
            self.chains.len() - 1
        });
        index as u32 + 1
    }

    /// Which of a call's raw values an argument is. A tracepoint, or a place in a program, has more than a call has room
    /// for: the table says which they are.
    pub(super) fn raw(&mut self, part: Part<'_>, number: u8, is_size: bool) -> Result<u8, CompileError> {
        if part.hook.of_function() || part.hook.point == Point::Process {
            return Ok(number);
        }
        let field = FieldUse { number, is_size };
        if let Some(index) = self.fields.iter().position(|known| *known == field) {
            return Ok(index as u8);
        }
        if self.fields.len() >= FIELDS {
            return Err(CompileError::Full { what: "different fields or arguments", limit: FIELDS });
        }
        self.fields.push(field);
        Ok(self.fields.len() as u8 - 1)
    }

    /// Has a selector set an argument, by its place among the raw values.
    pub(super) fn set(&mut self, selector: usize, place: u8, value: i64) {
        let selector = selector as u32;
        if self.settings.last().is_none_or(|(known, _)| *known != selector) {
            self.settings.push((selector, Setting::default()));
        }
        if let Some((_, setting)) = self.settings.last_mut()
            && let Some(slot) = setting.value.get_mut(usize::from(place))
        {
            *slot = value;
            setting.mask |= 1 << place;
        }
    }

    /// The raw value that says how long a buffer is, plus one; 0 where none does.
    fn size(&mut self, part: Part<'_>, argument: &Argument) -> Result<u8, CompileError> {
        let size = match argument.size_from {
            Some(index) => self.raw(part, index, false)?,
            // An array in a record has the length that it has.
            None if argument.kind == ArgumentType::ConstBuf
                && argument.path.is_none()
                && !part.hook.of_function() =>
            {
                self.raw(part, argument.index, true)?
            }
            None => return Ok(0),
        };
        Ok(size + 1)
    }

    pub(super) fn returned(&mut self, kind: ArgumentType) -> Result<u8, CompileError> {
        self.value(ValueSpec { source: source::RETURN, kind: kind_of(kind)?, ..ValueSpec::default() })
    }

    /// A descriptor that has to be followed for the selector to match.
    pub(super) fn followed(
        &mut self,
        part: Part<'_>,
        argument: &Argument,
        bit: usize,
    ) -> Result<u8, CompileError> {
        let index = self.raw(part, argument.index, false)?;
        let value = self.value(ValueSpec {
            source: source::ARG,
            index,
            kind: value_type::FOLLOWED,
            size_arg: 0,
            most: part.policy,
            chain: 0,
        })?;
        self.present(value, false, bit)?;
        Ok(value)
    }

    pub(super) fn host_inode(&self, namespace: Namespace) -> u32 {
        let host = &self.host.namespaces;
        match namespace {
            Namespace::Uts => host.uts,
            Namespace::Ipc => host.ipc,
            Namespace::Mnt => host.mnt,
            Namespace::Pid => host.pid,
            Namespace::PidForChildren => host.pid_for_children,
            Namespace::Net => host.net,
            Namespace::Time => host.time,
            Namespace::TimeForChildren => host.time_for_children,
            Namespace::Cgroup => host.cgroup,
            Namespace::User => host.user,
        }
    }

    // --- dimensions ---

    /// The conditions of a dimension, which is made where there is none yet. All of a class are of one kind.
    fn asked(
        &mut self,
        value: u8,
        (class, field): (u8, u8),
        late: bool,
        empty: fn() -> Conditions,
    ) -> Result<&mut Conditions, CompileError> {
        let same = |asked: &Asked| {
            (asked.value, asked.class, asked.field, asked.late) == (value, class, field, late)
        };
        match self.dimensions.iter().position(same) {
            Some(index) => Ok(&mut self.dimensions[index].conditions),
            None => self.new_dimension(Asked { value, class, late, field, conditions: empty() }),
        }
    }

    pub(super) fn numbers(
        &mut self,
        value: u8,
        class: u8,
        late: bool,
        bit: usize,
        numbers: Numbers,
    ) -> Result<(), CompileError> {
        if let Conditions::Numbers(all) =
            self.asked(value, (class, 0), late, || Conditions::Numbers(Vec::new()))?
        {
            all.push((bit, numbers));
        }
        Ok(())
    }

    pub(super) fn texts(
        &mut self,
        value: u8,
        late: bool,
        bit: usize,
        operator: TextOperator,
        texts: &[Box<[u8]>],
    ) -> Result<(), CompileError> {
        let texts = Texts::new(operator, texts)?;
        let class = if texts.from_end { class::SUFFIX } else { class::PREFIX };
        if let Conditions::Texts(all) =
            self.asked(value, (class, 0), late, || Conditions::Texts(Vec::new()))?
        {
            all.push((bit, texts));
        }
        Ok(())
    }

    /// A number that the endpoint which a value is has.
    pub(super) fn field(
        &mut self,
        value: u8,
        of: Field,
        late: bool,
        bit: usize,
        numbers: Numbers,
    ) -> Result<(), CompileError> {
        let field = match of {
            Field::SourcePort => field::SOURCE_PORT,
            Field::DestinationPort => field::DESTINATION_PORT,
            Field::Protocol => field::PROTOCOL,
            Field::Family => field::FAMILY,
            Field::State => field::STATE,
        };
        let asked = self.asked(value, (class::FIELD, field), late, || Conditions::Numbers(Vec::new()))?;
        if let Conditions::Numbers(all) = asked {
            all.push((bit, numbers));
        }
        Ok(())
    }

    pub(super) fn address(
        &mut self,
        value: u8,
        end: End,
        late: bool,
        bit: usize,
        networks: Networks,
    ) -> Result<(), CompileError> {
        let field = match end {
            End::Source => field::SOURCE_ADDRESS,
            End::Destination => field::DESTINATION_ADDRESS,
        };
        let asked = self.asked(value, (class::FIELD, field), late, || Conditions::Addresses(Vec::new()))?;
        if let Conditions::Addresses(all) = asked {
            all.push((bit, networks));
        }
        Ok(())
    }

    /// Texts that stand anywhere: as with bits, one condition of each selector.
    pub(super) fn search(
        &mut self,
        value: u8,
        any_case: bool,
        late: bool,
        bit: usize,
        texts: &[Box<[u8]>],
    ) -> Result<(), CompileError> {
        let class = if any_case { class::SEARCH_ANY_CASE } else { class::SEARCH };
        let lower = |text: &[u8]| if any_case { text.to_ascii_lowercase() } else { text.to_vec() };
        let wanted = (bit, texts.iter().map(|text| lower(text)).collect());
        for asked in &mut self.dimensions {
            if let Conditions::Search(all) = &mut asked.conditions
                && (asked.value, asked.class, asked.late) == (value, class, late)
                && all.iter().all(|(selector, _)| *selector != bit)
            {
                all.push(wanted);
                return Ok(());
            }
        }
        let conditions = Conditions::Search(vec![wanted]);
        self.new_dimension(Asked { value, class, late, field: 0, conditions }).map(|_| ())
    }

    /// What is computed of some values, all of which have to be there.
    pub(super) fn expression(
        &mut self,
        values: &[u8],
        late: bool,
        bit: usize,
        operations: Vec<Operation>,
    ) -> Result<(), CompileError> {
        for value in values {
            self.present(*value, late, bit)?;
        }
        for asked in &mut self.dimensions {
            if let Conditions::Expression(known, asking) = &mut asked.conditions
                && asked.late == late
                && *known == operations
            {
                asking.push(bit);
                return Ok(());
            }
        }
        let value = values.first().copied().unwrap_or_default();
        let conditions = Conditions::Expression(operations, vec![bit]);
        let asked = Asked { value, class: class::EXPRESSION, late, field: 0, conditions };
        self.new_dimension(asked).map(|_| ())
    }

    pub(super) fn bits(
        &mut self,
        value: u8,
        bit: usize,
        bits: u64,
        negated: bool,
    ) -> Result<(), CompileError> {
        self.bits_of(value, false, bit, bits, negated)
    }

    /// A dimension of bits has room for one condition of each selector: further ones go to others.
    pub(super) fn bits_of(
        &mut self,
        value: u8,
        late: bool,
        bit: usize,
        bits: u64,
        negated: bool,
    ) -> Result<(), CompileError> {
        for asked in &mut self.dimensions {
            if let Conditions::Bits(all) = &mut asked.conditions
                && (asked.value, asked.late) == (value, late)
                && all.iter().all(|(selector, ..)| *selector != bit)
            {
                all.push((bit, bits, negated));
                return Ok(());
            }
        }
        let conditions = Conditions::Bits(vec![(bit, bits, negated)]);
        self.new_dimension(Asked { value, class: class::BITS, late, field: 0, conditions }).map(|_| ())
    }

    fn new_dimension(&mut self, asked: Asked) -> Result<&mut Conditions, CompileError> {
        if self.dimensions.len() >= plan::DIMENSIONS {
            return Err(CompileError::Full { what: "different filters", limit: plan::DIMENSIONS });
        }
        self.dimensions.push(asked);
        let last = self.dimensions.len() - 1;
        Ok(&mut self.dimensions[last].conditions)
    }

    pub(super) fn present(&mut self, value: u8, late: bool, bit: usize) -> Result<(), CompileError> {
        if let Conditions::Present(all) =
            self.asked(value, (class::PRESENT, 0), late, || Conditions::Present(Vec::new()))?
        {
            all.push(bit);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<TablePlan, CompileError> {
        // What is cheap to look at first: most calls end there. Expressions last: others read what they compute with.
        self.dimensions.sort_by_key(|asked| {
            let cheap = self.values.get(usize::from(asked.value)).is_some_and(|spec| {
                !matches!(spec.source, source::BINARY | source::PARENT_BINARY)
                    && (spec.source != source::ARG || spec.kind < value_type::STRING)
            });
            (asked.class == class::EXPRESSION, !cheap)
        });
        let count = self.selectors.len();
        let all = Mask::of(0..count);
        let mut plan = TablePlan {
            table: Table {
                selectors: all,
                late: self.late,
                values: self.values.len() as u8,
                dimensions: self.dimensions.len() as u8,
                captures: self.captures,
                ..Table::default()
            },
            ..TablePlan::default()
        };
        plan.table.value[..self.values.len()].copy_from_slice(&self.values);
        for (index, asked) in self.dimensions.iter().enumerate() {
            let (miss, entries) = asked.compile(count)?;
            plan.sets.extend(entries.map(|entries| (index, entries)));
            plan.table.dimension[index] = Dimension {
                value: asked.value,
                class: asked.class,
                late: u8::from(asked.late),
                field: asked.field,
                miss,
                ..Dimension::default()
            };
        }
        plan.settings = self.settings;
        plan.selectors = self.selectors;
        plan.fields = self.fields;
        plan.chains = self.chains;
        Ok(plan)
    }
}

// === impl Asked ===

impl Asked {
    /// The answer where nothing is found, and what is looked up, if anything is.
    fn compile(&self, count: usize) -> Result<(Mask, Option<Entries>), CompileError> {
        let others = |asking: &[usize]| Mask::of((0..count).filter(|bit| !asking.contains(bit)));
        Ok(match &self.conditions {
            Conditions::Numbers(conditions) => {
                let (miss, entries) = condition::numbers(conditions, count);
                (miss, Some(Entries::Numbers(entries)))
            }
            Conditions::Texts(conditions) => {
                let (miss, entries) = condition::texts(conditions, count);
                let from_end = self.class == class::SUFFIX;
                let entries = if from_end { Entries::Suffixes(entries) } else { Entries::Prefixes(entries) };
                (miss, Some(entries))
            }
            Conditions::Bits(conditions) => {
                let (miss, entries) = condition::bits(conditions, count);
                let entries = entries.into_iter().map(|(bit, mask)| (bit, 64, mask)).collect();
                (miss, Some(Entries::Numbers(entries)))
            }
            Conditions::Addresses(conditions) => {
                let (miss, entries) = condition::addresses(conditions, count);
                (miss, Some(Entries::Addresses(entries)))
            }
            Conditions::Search(wanted) => {
                let (miss, entries) = search::automaton(wanted, count)?;
                (miss, Some(entries))
            }
            Conditions::Expression(operations, asking) => {
                let entries = Entries::Expression(Box::new(expression::plan(operations)));
                (others(asking), Some(entries))
            }
            Conditions::Present(needing) => (others(needing), None),
        })
    }
}

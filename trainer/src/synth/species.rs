//! The species as data: look-alike pairs, each written as one bird and what the two do differently.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// A body part with a point in the ground truth. The order is that of `parts.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Top of the head.
    Crown,
    /// The eye and the stripe through it.
    Eye,
    /// The bill.
    Bill,
    /// Below the bill.
    Throat,
    /// Front of the body.
    Breast,
    /// The folded wing, where its bars are.
    Wing,
    /// The tail, whole.
    Tail,
    /// Under the body.
    Belly,
    /// Above the wing.
    Back,
    /// Where the legs leave the body.
    Legs,
}

impl Part {
    /// Every part, in the order of `parts.txt`.
    pub const ALL: [Part; 10] = [
        Part::Crown,
        Part::Eye,
        Part::Bill,
        Part::Throat,
        Part::Breast,
        Part::Wing,
        Part::Tail,
        Part::Belly,
        Part::Back,
        Part::Legs,
    ];

    /// The name in `parts.txt`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Crown => "crown",
            Part::Eye => "eye",
            Part::Bill => "bill",
            Part::Throat => "throat",
            Part::Breast => "breast",
            Part::Wing => "wing",
            Part::Tail => "tail",
            Part::Belly => "belly",
            Part::Back => "back",
            Part::Legs => "legs",
        }
    }
}

/// The form of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillShape {
    /// A thrush's: straight, of middling length.
    Straight,
    /// A finch's: short and deep.
    Cone,
    /// A creeper's: long, thin, bent down.
    Sickle,
}

/// The form of a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailShape {
    /// Cut off straight.
    Square,
    /// Two long outer points.
    Forked,
    /// Spread, rounded.
    Fan,
}

/// What the breast shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breast {
    /// Nothing but the belly's colour.
    Plain,
    /// Rows of dark streaks.
    Streaks(Rgb),
}

/// What a species looks like. Optional colours are marks that it may lack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Species {
    /// English name, words joined by underscores: safe as a file name.
    pub name: &'static str,
    /// Height of the body over the default's: 1 is a sparrow.
    pub plumpness: f32,
    /// Whether crown feathers stand up.
    pub crest: bool,
    /// Head, where no mark covers it.
    pub head: Rgb,
    /// Upper side of the body.
    pub back: Rgb,
    /// Under side of the body.
    pub belly: Rgb,
    /// Folded wing.
    pub wing: Rgb,
    /// Legs and feet.
    pub legs: Rgb,
    /// Crown patch.
    pub crown: Option<Rgb>,
    /// Stripe through the eye.
    pub eye_stripe: Option<Rgb>,
    /// Throat patch.
    pub throat: Option<Rgb>,
    /// Form of the bill.
    pub bill: BillShape,
    /// Colour of the bill.
    pub bill_colour: Rgb,
    /// Two bars across the wing.
    pub wing_bars: Option<Rgb>,
    /// Marks on the breast.
    pub breast: Breast,
    /// Form of the tail.
    pub tail: TailShape,
    /// Colour of the tail.
    pub tail_colour: Rgb,
    /// Band near the tail's end.
    pub tail_band: Option<Rgb>,
}

const BLACK: Rgb = [28, 26, 30];
const WHITE: Rgb = [246, 244, 236];
const SLATE: Rgb = [66, 70, 80];

const PIPIT: Species = Species {
    name: "",
    plumpness: 1.0,
    crest: false,
    head: [168, 138, 104],
    back: [138, 108, 78],
    belly: [232, 214, 178],
    wing: [110, 84, 60],
    legs: [196, 140, 110],
    crown: None,
    eye_stripe: None,
    throat: None,
    bill: BillShape::Straight,
    bill_colour: [80, 66, 56],
    wing_bars: None,
    breast: Breast::Plain,
    tail: TailShape::Square,
    tail_colour: [100, 76, 56],
    tail_band: None,
};

const TANAGER: Species = Species {
    head: [206, 190, 62],
    back: [118, 142, 52],
    belly: [238, 216, 84],
    wing: [88, 108, 50],
    legs: [90, 84, 78],
    bill_colour: SLATE,
    tail_colour: [92, 108, 48],
    ..PIPIT
};

const THRUSH: Species = Species {
    plumpness: 1.12,
    head: [150, 152, 158],
    back: [124, 126, 136],
    belly: [196, 196, 198],
    wing: [98, 102, 112],
    tail_colour: [88, 92, 102],
    legs: [110, 92, 84],
    ..PIPIT
};

const HONEYCREEPER: Species = Species {
    plumpness: 0.92,
    head: [58, 104, 190],
    back: [62, 100, 178],
    belly: [222, 226, 234],
    wing: [74, 104, 168],
    tail_colour: [34, 56, 116],
    bill_colour: BLACK,
    legs: [70, 66, 72],
    ..PIPIT
};

const FLYCATCHER: Species = Species {
    crest: true,
    head: [96, 104, 84],
    back: [98, 108, 84],
    belly: [226, 222, 168],
    wing: [58, 62, 54],
    tail_colour: [66, 70, 58],
    bill_colour: [52, 46, 44],
    legs: [60, 56, 56],
    ..PIPIT
};

const BUNTING: Species = Species {
    plumpness: 1.08,
    head: [170, 88, 52],
    back: [156, 84, 50],
    belly: [244, 236, 220],
    wing: [112, 66, 44],
    tail_colour: [104, 62, 42],
    bill: BillShape::Cone,
    bill_colour: [120, 108, 100],
    ..PIPIT
};

const SWALLOW_TIT: Species = Species {
    plumpness: 0.94,
    head: BLACK,
    back: [38, 38, 48],
    belly: [236, 150, 92],
    wing: [48, 48, 60],
    tail_colour: [40, 40, 52],
    bill_colour: BLACK,
    legs: [64, 58, 60],
    ..PIPIT
};

const GROSBEAK: Species = Species {
    plumpness: 1.14,
    head: [190, 52, 58],
    back: [146, 44, 52],
    belly: [222, 120, 116],
    wing: [84, 36, 42],
    tail_colour: [74, 34, 40],
    bill: BillShape::Cone,
    bill_colour: [214, 196, 160],
    legs: [120, 90, 84],
    ..PIPIT
};

/// The species, look-alikes side by side: 0 and 1, 2 and 3, ...
pub const SPECIES: [Species; 16] = [
    Species { name: "Ochre_crowned_Pipit", crown: Some([240, 160, 30]), ..PIPIT },
    Species { name: "Plum_crowned_Pipit", crown: Some([104, 34, 112]), ..PIPIT },
    Species { name: "Masked_Tanager", eye_stripe: Some(BLACK), ..TANAGER },
    Species { name: "Open_faced_Tanager", ..TANAGER },
    Species { name: "Coral_billed_Thrush", bill_colour: [240, 86, 44], ..THRUSH },
    Species { name: "Slate_billed_Thrush", bill_colour: [50, 54, 66], ..THRUSH },
    Species { name: "Sickle_billed_Honeycreeper", bill: BillShape::Sickle, ..HONEYCREEPER },
    Species { name: "Stub_billed_Honeycreeper", bill: BillShape::Cone, ..HONEYCREEPER },
    Species { name: "Bar_winged_Flycatcher", wing_bars: Some(WHITE), ..FLYCATCHER },
    Species { name: "Plain_winged_Flycatcher", ..FLYCATCHER },
    Species { name: "Streaked_Marsh_Bunting", breast: Breast::Streaks([70, 40, 28]), ..BUNTING },
    Species { name: "Clear_breasted_Marsh_Bunting", ..BUNTING },
    Species { name: "Fork_tailed_Swallow_Tit", tail: TailShape::Forked, ..SWALLOW_TIT },
    Species { name: "Fan_tailed_Swallow_Tit", tail: TailShape::Fan, ..SWALLOW_TIT },
    Species { name: "Band_tailed_Grosbeak", tail_band: Some(WHITE), throat: Some(BLACK), ..GROSBEAK },
    Species { name: "Dusky_tailed_Grosbeak", ..GROSBEAK },
];

/// The species that `species` (an index) is easily taken for.
pub fn look_alike(species: usize) -> usize {
    species ^ 1
}

/// The parts in which two species differ.
pub fn field_marks(a: &Species, b: &Species) -> Vec<Part> {
    let differs = |part: &Part| match part {
        Part::Crown => a.crown != b.crown || a.crest != b.crest,
        Part::Eye => a.eye_stripe != b.eye_stripe,
        Part::Bill => (a.bill, a.bill_colour) != (b.bill, b.bill_colour),
        Part::Throat => a.throat != b.throat,
        Part::Breast => a.breast != b.breast,
        Part::Wing => (a.wing, a.wing_bars) != (b.wing, b.wing_bars),
        Part::Tail => (a.tail, a.tail_colour, a.tail_band) != (b.tail, b.tail_colour, b.tail_band),
        Part::Belly => a.belly != b.belly,
        Part::Back => a.back != b.back,
        Part::Legs => a.legs != b.legs,
    };
    Part::ALL.into_iter().filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_differ_by_one_or_two_field_marks_only() {
        for (index, species) in SPECIES.iter().enumerate() {
            let other = &SPECIES[look_alike(index)];
            let marks = field_marks(species, other);
            assert!((1..=2).contains(&marks.len()), "{}: {marks:?}", species.name);
            let rest = Species { name: other.name, head: other.head, plumpness: other.plumpness, ..*species };
            assert_eq!(field_marks(&rest, species), [], "a mark depends on name, head or build");
            assert_eq!((species.head, species.plumpness), (other.head, other.plumpness), "{}", species.name);
        }
    }

    #[test]
    fn species_of_different_pairs_differ_in_their_body() {
        for (index, species) in SPECIES.iter().enumerate() {
            for other in &SPECIES[(index | 1) + 1..] {
                assert_ne!((species.head, species.belly), (other.head, other.belly));
            }
        }
    }

    #[test]
    fn names_are_unique_and_safe_as_file_names() {
        let names: std::collections::BTreeSet<_> = SPECIES.iter().map(|species| species.name).collect();
        assert_eq!(names.len(), SPECIES.len());
        assert!(
            names.iter().all(|name| { name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') })
        );
    }
}

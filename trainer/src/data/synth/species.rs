//! The species as data: the marks that tell each, and the plumages that any of them may wear.

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

/// The marks that tell a species: all else of a bird is plumage, which says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Species {
    /// English name, words joined by underscores: safe as a file name.
    pub name: &'static str,
    /// Crown patch.
    pub crown: Option<Rgb>,
    /// Stripe through the eye.
    pub eye_stripe: Option<Rgb>,
    /// Throat patch.
    pub throat: Option<Rgb>,
    /// Form of the bill.
    pub bill: BillShape,
    /// Colour of the bill, where it is a mark.
    pub bill_colour: Option<Rgb>,
    /// Two bars across the wing.
    pub wing_bars: Option<Rgb>,
    /// Marks on the breast.
    pub breast: Breast,
    /// Form of the tail.
    pub tail: TailShape,
    /// Band near the tail's end.
    pub tail_band: Option<Rgb>,
}

/// What birds of any species wear, by age, sex and season.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plumage {
    /// Head, where no mark covers it.
    pub head: Rgb,
    /// Upper side of the body.
    pub back: Rgb,
    /// Under side of the body.
    pub belly: Rgb,
    /// Folded wing.
    pub wing: Rgb,
    /// Tail.
    pub tail: Rgb,
    /// Bill, where its colour is no mark.
    pub bill: Rgb,
    /// Legs and feet.
    pub legs: Rgb,
}

const BLACK: Rgb = [28, 26, 30];
const WHITE: Rgb = [246, 244, 236];
const AMBER: Rgb = [240, 160, 30];
const RUBY: Rgb = [200, 34, 44];

/// No mark at all.
const PLAIN: Species = Species {
    name: "",
    crown: None,
    eye_stripe: None,
    throat: None,
    bill: BillShape::Straight,
    bill_colour: None,
    wing_bars: None,
    breast: Breast::Plain,
    tail: TailShape::Square,
    tail_band: None,
};

/// The species, look-alikes side by side: 0 and 1, 2 and 3, ... They differ in the form or colour of one part; the
/// last two, of two parts.
pub const SPECIES: [Species; 16] = [
    Species { name: "Amber_crowned_Warbler", crown: Some(AMBER), ..PLAIN },
    Species { name: "Plum_crowned_Warbler", crown: Some([104, 34, 112]), ..PLAIN },
    Species { name: "Black_masked_Warbler", eye_stripe: Some(BLACK), ..PLAIN },
    Species { name: "White_masked_Warbler", eye_stripe: Some(WHITE), ..PLAIN },
    Species { name: "Coral_billed_Warbler", bill_colour: Some([240, 70, 40]), ..PLAIN },
    Species { name: "Lemon_billed_Warbler", bill_colour: Some([248, 222, 60]), ..PLAIN },
    Species { name: "Sickle_billed_Warbler", bill: BillShape::Sickle, ..PLAIN },
    Species { name: "Stub_billed_Warbler", bill: BillShape::Cone, ..PLAIN },
    Species { name: "White_barred_Warbler", wing_bars: Some(WHITE), ..PLAIN },
    Species { name: "Amber_barred_Warbler", wing_bars: Some(AMBER), ..PLAIN },
    Species { name: "Dark_streaked_Warbler", breast: Breast::Streaks(BLACK), ..PLAIN },
    Species { name: "Ruby_streaked_Warbler", breast: Breast::Streaks(RUBY), ..PLAIN },
    Species { name: "Fork_tailed_Warbler", tail: TailShape::Forked, ..PLAIN },
    Species { name: "Fan_tailed_Warbler", tail: TailShape::Fan, ..PLAIN },
    Species { name: "Black_bibbed_Warbler", throat: Some(BLACK), tail_band: Some(WHITE), ..PLAIN },
    Species { name: "Ruby_bibbed_Warbler", throat: Some(RUBY), tail_band: Some(AMBER), ..PLAIN },
];

/// The plumages: brown, olive, grey, blue, chestnut. Every mark can be seen on each.
pub const PLUMAGES: [Plumage; 5] = [
    Plumage {
        head: [168, 138, 104],
        back: [138, 108, 78],
        belly: [232, 214, 178],
        wing: [110, 84, 60],
        tail: [100, 76, 56],
        bill: [70, 60, 56],
        legs: [196, 140, 110],
    },
    Plumage {
        head: [134, 144, 78],
        back: [112, 126, 62],
        belly: [226, 220, 160],
        wing: [84, 96, 52],
        tail: [86, 96, 54],
        bill: [62, 60, 56],
        legs: [90, 84, 78],
    },
    Plumage {
        head: [150, 152, 158],
        back: [124, 126, 136],
        belly: [206, 206, 208],
        wing: [98, 102, 112],
        tail: [88, 92, 102],
        bill: [66, 70, 80],
        legs: [110, 92, 84],
    },
    Plumage {
        head: [84, 124, 190],
        back: [74, 110, 176],
        belly: [222, 226, 234],
        wing: [70, 98, 156],
        tail: [50, 76, 132],
        bill: [50, 52, 62],
        legs: [70, 66, 72],
    },
    Plumage {
        head: [160, 100, 70],
        back: [148, 90, 60],
        belly: [244, 232, 212],
        wing: [112, 70, 50],
        tail: [104, 66, 48],
        bill: [84, 74, 70],
        legs: [120, 96, 84],
    },
];

/// The species that `species` (an index) is easily taken for.
pub fn look_alike(species: usize) -> usize {
    species ^ 1
}

/// The parts in which two species differ.
pub fn field_marks(a: &Species, b: &Species) -> Vec<Part> {
    let differs = |part: &Part| match part {
        Part::Crown => a.crown != b.crown,
        Part::Eye => a.eye_stripe != b.eye_stripe,
        Part::Bill => (a.bill, a.bill_colour) != (b.bill, b.bill_colour),
        Part::Throat => a.throat != b.throat,
        Part::Breast => a.breast != b.breast,
        Part::Wing => a.wing_bars != b.wing_bars,
        Part::Tail => (a.tail, a.tail_band) != (b.tail, b.tail_band),
        Part::Belly | Part::Back | Part::Legs => false,
    };
    Part::ALL.into_iter().filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_differ_by_one_or_two_field_marks() {
        for (index, species) in SPECIES.iter().enumerate() {
            let marks = field_marks(species, &SPECIES[look_alike(index)]);
            assert!((1..=2).contains(&marks.len()), "{}: {marks:?}", species.name);
            assert_eq!(
                marks,
                field_marks(species, &PLAIN),
                "{} has a mark that its look-alike shares",
                species.name
            );
        }
    }

    #[test]
    fn no_two_species_have_the_same_marks() {
        for (index, species) in SPECIES.iter().enumerate() {
            for other in &SPECIES[index + 1..] {
                assert_ne!(field_marks(species, other), [], "{} and {}", species.name, other.name);
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

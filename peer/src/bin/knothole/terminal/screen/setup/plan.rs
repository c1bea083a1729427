//! Where the link, its QR code and the words beside them stand, by the size of the terminal alone. The link has its rows for itself,
//! from the first column to the last: so a terminal's own selection takes it and nothing else.

use ratatui::layout::Rect;

use crate::terminal::qr::Qr;

/// Columns that words need at least, beside a code.
const WORDS: u16 = 24;

/// The areas.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The link, broken where the rows end. Where it stands beside the code, a selection takes parts of that, too.
    pub(crate) link: Option<Rect>,
    pub(crate) qr: Option<(Rect, Qr)>,
    pub(crate) words: Rect,
    /// Columns and rows that the code would need, where it has no room.
    pub(crate) needs: Option<(usize, usize)>,
}

impl Plan {
    /// The areas of so many columns and rows; `alone`: the link without its code.
    pub(crate) fn of((columns, rows): (u16, u16), link: Option<&str>, alone: bool) -> Self {
        let area = Rect { x: 0, y: 0, width: columns, height: rows };
        let Some(link) = link else {
            let words = Rect { x: 1.min(columns), width: columns.saturating_sub(2), ..area };
            return Self { link: None, qr: None, words, needs: None };
        };
        let lines = lines(link, columns);
        let height = rows.saturating_sub(lines);
        let place = Rect { height: lines.min(rows), ..area };
        let words = Rect { x: 1.min(columns), y: lines.min(rows), width: columns.saturating_sub(2), height };
        if alone {
            return Self { link: Some(place), qr: None, words, needs: None };
        }
        // Under the link, with the words beside it.
        let width = columns.saturating_sub(WORDS + 2);
        let under = Qr::fitting(link, usize::from(width), usize::from(height));
        if let Ok(qr) = under {
            let taken = u16::try_from(qr.width()).unwrap_or(columns);
            let beneath = Rect { y: lines, height, ..area };
            let words = Rect { x: taken + 2, width: columns.saturating_sub(taken + 2), ..beneath };
            let place = Rect { width: taken, ..beneath };
            return Self { link: Some(Rect { height: lines, ..area }), qr: Some((place, qr)), words, needs: None };
        }
        // As high as the screen, with link and words beside it.
        if let Ok(qr) = Qr::fitting(link, usize::from(width), usize::from(rows)) {
            let taken = u16::try_from(qr.width()).unwrap_or(columns);
            let right = Rect { x: taken + 2, width: columns.saturating_sub(taken + 2), ..area };
            let lines = self::lines(link, right.width);
            let words = Rect { y: lines, height: rows.saturating_sub(lines), ..right };
            return Self {
                link: Some(Rect { height: lines, ..right }),
                qr: Some((Rect { width: taken, ..area }, qr)),
                words,
                needs: None,
            };
        }
        let needs = under.err().map(|(width, height)| (width + usize::from(WORDS) + 2, height));
        Self { link: Some(place), qr: None, words, needs }
    }
}

/// Rows that a link takes.
fn lines(link: &str, columns: u16) -> u16 {
    u16::try_from(link.len().div_ceil(usize::from(columns.max(1)))).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(host: &str) -> String {
        let key = "ab2cd3ef4gh5ij6kl7mnopqrstuvwxyzab2cd3ef4gh5ij6kl7mn";
        format!("knothole:{key}?via={key}@{host}")
    }

    #[test]
    fn eighty_by_twenty_four_has_room_for_a_link_of_one_rendezvous_and_its_code() {
        let plan = Plan::of((80, 24), Some(&link("203.0.113.5:3478")), false);
        assert_eq!(plan.link, Some(Rect { x: 0, y: 0, width: 80, height: 2 }));
        assert!(plan.qr.is_some());
        assert!(plan.words.width >= 30 && plan.words.height >= 16, "{:?}", plan.words);
        // A long name of a host makes the code larger: then the link stands beside it.
        let plan = Plan::of((80, 24), Some(&link("rendezvous.example.org:3478")), false);
        assert!(plan.qr.is_some() && plan.link.is_some_and(|link| link.x > 40));
        // Alone it has its rows for itself again.
        let plan = Plan::of((80, 24), Some(&link("rendezvous.example.org:3478")), true);
        assert_eq!(plan.link, Some(Rect { x: 0, y: 0, width: 80, height: 2 }));
        assert!(plan.qr.is_none() && plan.needs.is_none());
    }

    #[test]
    fn nothing_lies_outside_or_upon_another_at_any_size() {
        let links = [link("10.0.0.1:1"), link("a.rather.long.name.of.a.host.example.org:65535")];
        for link in &links {
            for columns in [1, 20, 40, 60, 79, 80, 120, 200] {
                for rows in [1, 2, 5, 10, 23, 24, 40, 60] {
                    let plan = Plan::of((columns, rows), Some(link), false);
                    let qr = plan.qr.as_ref().map(|(area, _)| *area);
                    let areas: Vec<_> = plan.link.into_iter().chain(qr).chain([plan.words]).collect();
                    for (at, area) in areas.iter().enumerate() {
                        assert!(area.right() <= columns && area.bottom() <= rows, "{columns}×{rows}: {plan:?}");
                        let apart = areas[at + 1..].iter().all(|other| area.intersection(*other).is_empty());
                        assert!(apart, "{columns}×{rows}: {plan:?}");
                    }
                    assert_eq!(plan.qr.is_none(), plan.needs.is_some());
                }
            }
        }
    }
}

//! Games of two players with two moves each, and a frog that crosses a road.

use super::Asked;
use crate::data::order::below;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// What both players get, by the first one's move (up, down) and the second one's (left, right).
type Payoffs = [[(u64, u64); 2]; 2];

const ROWS: [&str; 2] = ["up", "down"];
const COLUMNS: [&str; 2] = ["left", "right"];

fn shown(game: &Payoffs) -> String {
    let row = |at: usize| {
        let cells: Vec<String> = game[at].iter().map(|(first, second)| format!("{first},{second}")).collect();
        format!("{}: {}", ROWS[at], cells.join(" "))
    };
    format!("left right\n{}\n{}", row(0), row(1))
}

/// The moves from which neither gains by another move.
fn equilibria(game: &Payoffs) -> Vec<(usize, usize)> {
    let all = (0..2).flat_map(|row| (0..2).map(move |column| (row, column)));
    let stays = |&(row, column): &(usize, usize)| {
        game[row][column].0 >= game[1 - row][column].0 && game[row][column].1 >= game[row][1 - column].1
    };
    all.filter(stays).collect()
}

pub(super) fn asked(index: usize, rng: &mut ChaCha8Rng) -> Option<Asked> {
    let mut cell = || (below(rng, 10), below(rng, 10));
    let game: Payoffs = [[cell(), cell()], [cell(), cell()]];
    if index.is_multiple_of(2) {
        let column = below(rng, 2) as usize;
        let [up, down] = [game[0][column].0, game[1][column].0];
        if up == down {
            return None;
        }
        let best = usize::from(down > up);
        return Some(Asked {
            question: format!("{}\nbest reply of the first to {}?", shown(&game), COLUMNS[column]),
            rationale: format!("up {up}, down {down}"),
            answer: ROWS[best].to_string(),
            kind: "reply",
            more: vec![("choices", json!(ROWS))],
        });
    }
    let found = equilibria(&game);
    let [(row, column)] = found[..] else { return None };
    let choices: Vec<String> =
        ROWS.iter().flat_map(|row| COLUMNS.iter().map(move |column| format!("{row} {column}"))).collect();
    let line = |at: usize| {
        let (r, c) = (at / 2, at % 2);
        let [first, second] = [game[r][c].0 >= game[1 - r][c].0, game[r][c].1 >= game[r][1 - c].1]
            .map(|stays| if stays { "stays" } else { "leaves" });
        format!("{}: first {first}, second {second}", choices[at])
    };
    Some(Asked {
        question: format!("{}\nequilibrium?", shown(&game)),
        rationale: (0..4).map(line).collect::<Vec<_>>().join("\n"),
        answer: choices[2 * row + column].clone(),
        kind: "equilibrium",
        more: vec![("choices", json!(choices))],
    })
}

/// The frog stands at one of nine places; it goes where the next lane is free above it and no car comes there, moves aside where a neighbouring
/// place is free, and waits otherwise.
pub(super) fn frog(rng: &mut ChaCha8Rng) -> Option<Asked> {
    let place = below(rng, 9) as usize;
    let lane: Vec<bool> = (0..9).map(|_| below(rng, 2) == 0).collect();
    let free = |at: Option<usize>| at.is_some_and(|at| at < 9 && !lane[at]);
    let (answer, why) = match () {
        _ if free(Some(place)) => ("go", format!("{place} is free")),
        _ if free(place.checked_sub(1)) => ("left", format!("a car at {place}, none at {}", place - 1)),
        _ if free(Some(place + 1)) => ("right", format!("a car at {place}, none at {}", place + 1)),
        _ => ("wait", format!("cars at {place} and beside")),
    };
    let cars: Vec<String> = (0..9).filter(|&at| lane[at]).map(|at| at.to_string()).collect();
    let cars = if cars.is_empty() { "none".to_string() } else { cars.join(" ") };
    Some(Asked {
        question: format!("frog {place}. cars {cars}."),
        rationale: why,
        answer: answer.to_string(),
        kind: "frogger",
        more: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// The prisoners' dilemma has one equilibrium, matching pennies none, the battle of the sexes two.
    #[test]
    fn games_have_their_equilibria() {
        assert_eq!(equilibria(&[[(3, 3), (0, 5)], [(5, 0), (1, 1)]]), [(1, 1)]);
        assert_eq!(equilibria(&[[(1, 0), (0, 1)], [(0, 1), (1, 0)]]), []);
        assert_eq!(equilibria(&[[(2, 1), (0, 0)], [(0, 0), (1, 2)]]), [(0, 0), (1, 1)]);
        assert_eq!(shown(&[[(3, 3), (0, 5)], [(5, 0), (1, 1)]]), "left right\nup: 3,3 0,5\ndown: 5,0 1,1");
    }

    #[test]
    fn an_equilibrium_is_where_both_stay() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let games = (0..200).filter_map(|_| asked(1, &mut rng));
        for game in games {
            let stays: Vec<&str> = game.rationale.lines().filter(|line| !line.contains("leaves")).collect();
            assert_eq!(stays, [format!("{}: first stays, second stays", game.answer)]);
        }
    }

    #[test]
    fn a_frog_goes_where_no_car_is() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..200 {
            let asked = frog(&mut rng).unwrap();
            let (frog, cars) = asked.question.split_once(". cars ").unwrap();
            let place: i64 = frog.trim_start_matches("frog ").parse().unwrap();
            let cars: Vec<i64> =
                cars.trim_end_matches('.').split(' ').filter_map(|car| car.parse().ok()).collect();
            let to = match asked.answer.as_str() {
                "go" => place,
                "left" => place - 1,
                "right" => place + 1,
                _ => continue,
            };
            assert!((0..9).contains(&to) && !cars.contains(&to), "{}", asked.question);
        }
    }
}

//! Ratings as judges write them, and the scores that they are.

use super::*;

#[test]
fn the_scale_is_not_the_score() {
    for said in [
        "7",
        "7.",
        "**7**",
        "Score: 7",
        "Score: 7...",
        "Score: 7…",
        "Score: 7/10...",
        "Score: 7★",
        "Score: ⭐7",
        "⭐\u{fe0f}7/10",
        "Score: 7/10⭐",
        "Score: ✅7",
        "Score: 7\u{fe0f}\u{20e3}",
        "Score: 7\u{200b}",
        "Score: 7• good",
        "Score: 7/10",
        "Score = 7 / 10 = 0.7",
        "**Score:** 7 / 10",
        "Score: **7**/10.",
        "score = 7",
        "\"score\": 7",
        "{\"score\": 7, \"max\": 10}",
        "Score (0-10): 7",
        "Score (out of 10): 7",
        "Score (1 = worst, 10 = best): 7",
        "Rating: 7 out of 10",
        "Rating: 7 out of a possible 10",
        "I'd rate this 7/10.",
        "I give it a 7.",
        "7 out of 10",
        "7/10",
        "7 of 10",
        "On a scale of 1 to 10, I give this a 7.",
        "On a scale from 0 to 10: 7",
        "Out of 10, I would give it 7.",
        "The score is 7.",
        "The score I would give is 7",
        "Score:\n7",
        "Score:\n\\boxed{7}",
        "\\boxed{7/10}",
        "Score: 7 (of 10)",
        "Step 1 is right. Step 2 is not. Score: 7",
        "Score: 7. Step 3 has 2 errors.",
        "Of 3 steps two hold. Score: 7",
        "2 of 3 steps hold, so 7/10",
        "A score of 10 needs every step. Score: 7",
        "Clarity score: 9. Final score: 7",
        "Maximum score: 10. Score: 7",
        "1. The sum is right.\n2. The answer is not.\n\n7",
        "Rating: 7/10\nScore: 7/10",
        "I rate the rationale 7 points.",
        "7 points",
        "Step 1 holds.\nStep 2 fails.\n7",
        "Overall score: 7/10 (70%)",
        "# Score\n7",
        "Score - 7",
        "Score: 7,0",
        "The overall rating is 7 out of 10 because 2 steps fail.",
        "__Score__: 7",
        "$\\frac{7}{10}$",
        "Score: 7 - good, but long",
        "<score>7</score>",
        "3 examples. Rating: [[7]]",
        "Score (higher is better): 7",
        "Score on a 10-point scale: 7",
        "Score / 10: 7",
        "Score: 7/10\nConfidence: 90%",
        "Confidence: 90%. 7/10",
        "7 points out of 10",
        "The student says 42. Score: 7",
        "42 is wrong.\n7",
        "score of 7/10 since 2/3 steps are right",
        "Score: 7 because 3 + 4 is 8",
        "Correctness: 8/10\nClarity: 6/10\nOverall: 7/10",
        "I rate step 2 as wrong; score 7",
        "Score between 0 and 10: 7",
        "{\"reason\": \"2 errors\", \"score\": 7}",
        "My score for the explanation: 7",
        "SCORE=7",
        "Score:7",
        "Score: +7",
        "Score: 7 (max 10)",
        "This would score 7/10",
        "It deserves a 7.",
        "score: 7\nscore: 7/10",
        "Score: 7.0 / 10.0",
        "7\n\nThe steps hold.",
        "score: 7 points",
        "Verdict: 7/10",
        // What is quoted is another's.
        "The student wrote \"Score: 10\", which is manipulative. Score: 7",
        "He claims “final score: 10/10”. My rating: 7",
        "It ends with `Final Score: 10/10` written by the student himself. Score: 7",
        "> Final score: 10/10\n\nScore: 7",
        "Score: 7\n\n(The answer itself says: \"Final score: 10\")",
        "Score (1 to 10): 7",
        "Score: 3 + 4 = 7",
        "I won't give it a 10. Score: 7",
        "Total: 7 points",
        "7pts",
        "Initial score: 8. Final score: 7",
        "Score [0,10]: 7",
        "Score [0, 10]: 7",
        "Score (0; 10): 7",
        "Score: 7 stars out of 10",
        "Score for the 2nd step: 7",
        "Score: (7)",
        "Score: [7]",
        "Score [1,10]: 7",
        "Score [1, 10]: 7",
        "Score: 7/10: 2 steps fail",
        "Score: 7\nHalf of it is right.",
        "Score: 7.0.",
        "Score → 7",
    ] {
        assert_eq!(rating(said, [0.0, 10.0]), Some(7.0), "{said}");
    }
}

#[test]
fn what_is_not_clear_is_not_guessed() {
    for said in [
        "",
        "none",
        "seven",
        "Score: 4/5",
        "Score: 7 or 8",
        "Score: 7-8",
        "between 7 and 8",
        "Score: 70%",
        "7 or 8",
        "Score: 7. Score: 8.",
        "Clarity: 7, depth: 4",
        // Several scores, whatever they are scores of.
        "Helpfulness: 8, Accuracy: 3",
        "Helpfulness: 8/10, Accuracy: 3/10",
        "Score: 8 for helpfulness, 3 for accuracy",
        "Score: 8 (helpfulness), 3 (accuracy)",
        "Score: helpfulness 8, accuracy 3",
        "Scores: 8, 3",
        "Scores: 8 and 3",
        "I give helpfulness 8, accuracy 3",
        "Helpfulness score: 8, accuracy score: 3",
        "Score: 8 and 3",
        // Verdicts in other languages.
        "Score: nicht 8, sondern 3",
        "Score: nicht 8.",
        "Score: 8 wäre zu viel.",
        "Score: 8 sería demasiado, mejor 3",
        "8 wäre zu viel",
        "Bewertung: 8 ist zu viel, also 3",
        "Note : 8 serait trop, donc 3",
        "Je ne donnerais pas 8.",
        "点数は8ではなく3",
        "不是8分，而是3分",
        "3 steps, 2 errors",
        "out of 10",
        "/10",
        "a scale from 0 to 10",
        "Score: 7,8,9",
        // Joined to something, so that what is read of it is not what was meant.
        "Score: 5 1/2",
        "5 1/2",
        "Score: 5²",
        "5²",
        "Score: 7½",
        "7½",
        "Score: 7 ½",
        "Score: 5 and a half",
        "Score: 1_0",
        "Score: 5..10",
        "Score: 5…10",
        "Score: 7'5",
        "Score: 7:10",
        "Score: 7~8",
        "Score: ~7",
        "Score: ≈7",
        "Score: 7‰",
        "Score: 4/5/10",
        "Score: 8ish",
        "Score: 1e1",
        "Score: ~~8~~ 3",
        // Of another scale, or of none.
        "Score 0,10: 7",
        "Score: (8, 3)",
        "Score: 4 stars out of 5",
        "Score: 4 points in all out of 5",
        "Score: 3rd of 10",
        "Score: 3rd",
        // There is no score.
        "Score: N/A (would be 8)",
        "Score: n/a, 8",
        "Score: none (could be 8)",
        "Score: good (it would be 8 with a proof)",
        "Scores: accuracy 7, depth 8",
        "Score for accuracy: 7, for depth: 8",
        "8/10 for clarity, 6/10 for truth",
        "2 + 2 = 4 is right, so 10",
        "5 out of 5",
        "Grade: B",
        "Score: 7 to 8",
        "I would give a 7 or an 8",
        "He scored 3 of 4",
        "Step 2 fails.",
        "Score: n/a (out of 10)",
        // Named ones that disagree.
        "Final score: 10/10\nScore: 2",
        "Score: 2. The final score of the match in the problem is 3.",
        "The rationale awards itself a final grade of 10. Rating: 2",
        "The final grade in the problem was 9. Rating: 2/10",
        // What is denied, bounded, doubted or taken back.
        "Score: not 7 but 5",
        "This does not deserve a score of 9",
        "I cannot rate it 10",
        "No score of 10 here.",
        "I cannot give more than 3",
        "The score is less than 5",
        "Score: at least 9",
        "Score: >7",
        "Score: 7+",
        "Score: 7?",
        "Score: I'd say 7, maybe 8",
        "Score: 10 if lenient, 3 if strict",
        "Score: 8. Actually, 5.",
        "My score: 8. On reflection I lower it to 5.",
        "Score: 9, I mean 4",
        "Score: 9 -> 4",
        "Rating: 4 at best",
        "Score: 3*3",
        "Score: 3+4",
        "Not a 10. 4.",
        "The answer is 3, matching the reference 3.",
        "Correct! The answer 5 equals 5.",
    ] {
        assert_eq!(rating(said, [0.0, 10.0]), None, "{said}");
    }
}

/// What may stand behind a score on its line, by form: what is known to leave it what it is. All else makes it unclear, in whatever language.
#[test]
fn what_follows_a_score_on_its_line_is_known_or_there_is_none() {
    for (form, said) in [
        ("nothing", "Score: 8"),
        ("a full stop", "Score: 8."),
        ("a unit", "Score: 8 points"),
        ("the scale's end", "Score: 8 (max 10)"),
        ("a share", "Score: 8/10 (80%)"),
        ("a mark", "Score: 8 [END]"),
        ("a tag", "Score: 8 <br/>"),
        ("a cell", "| Score | 8 | klar |"),
        ("members of an object", "{\"score\": 8, \"begründung\": \"zwei Fehler\"}"),
        ("a line of its own", "Score: 8\nDas wäre alles."),
        ("a dash and a comment", "Score: 8 - good work"),
        ("a dash and a word", "Score: 8 – correct"),
        ("a comma and a comment", "Score: 8, well explained"),
        ("a comma and known words", "Score: 8, not perfect"),
        ("a comment in brackets", "Score: 8 (the second step lacks a reason)"),
        ("a semicolon and a wish", "Score: 8; it could be clearer"),
        ("a colon and a comment", "Score: 8: mostly right"),
        ("a reason", "Score: 8 because quarks explain hadrons"),
        ("a sentence", "Score: 8. The answer is right."),
        ("a sentence that finds fault", "Score: 8. The answer is wrong."),
        ("a sentence with a wish", "Score: 8. A diagram would be helpful."),
        ("a comment behind a share", "8/10 - good work"),
        ("an objection", "Score: 8/10, but the second step lacks a reason"),
    ] {
        assert_eq!(rating(said, [0.0, 10.0]), Some(8.0), "{form}: {said}");
    }
    for (form, said) in [
        ("a comma and a denial", "Score: 8, das wäre zu viel"),
        ("a dash and a denial", "Score: 8 - das wäre zu viel"),
        ("a denial in brackets", "Score: 8 (das wäre zu viel)"),
        ("a semicolon and a denial", "Score: 8; das wäre zu viel"),
        ("a sentence that denies", "Score: 8. Das wäre zu viel."),
        ("a denial behind a share", "Score: 8/10, ce serait trop"),
        ("a denial behind a share alone", "8/10, das wäre zu viel"),
        ("a denial behind a number alone", "8, das wäre zu viel"),
        ("a denial behind a unit", "Score: 8 points serait trop"),
        ("a word that English has too", "Score: 8 is te veel"),
        ("a word that English has too", "Score: 8 for meget"),
        ("a word that English has too", "Score: 8 to za dużo"),
        ("a word that English has too", "Score: 8 no, demasiado"),
        ("a word that English has too", "Score: 8, pas correct"),
        ("other letters", "Score: 8，太高了"),
        ("other letters", "Score: 8, это слишком много"),
        ("a comment that nobody can tell from a denial", "Score: 8, gut erklärt"),
        ("another score that was meant", "Score: 8, that would be too much"),
        ("another score that was meant", "Score: 8. That would be too generous."),
        ("another score that was meant", "Score: 8 - which would be wrong"),
        ("another score that was meant", "Score: 8, which is too lenient"),
    ] {
        assert_eq!(rating(said, [0.0, 10.0]), None, "{form}: {said}");
    }
}

#[test]
fn other_scales_have_other_ends() {
    assert_eq!(rating("Score: 0.7/1", [0.0, 1.0]), Some(0.7));
    assert_eq!(
        [rating(".8", [0.0, 1.0]), rating("Score: .8", [0.0, 1.0]), rating("1/1", [0.0, 1.0])],
        [Some(0.8), Some(0.8), Some(1.0)]
    );
    assert_eq!(rating("Score: 7/10", [0.0, 1.0]), None);
    assert_eq!(rating("4/5 stars", [1.0, 5.0]), Some(4.0));
    assert_eq!(rating("From 1 to 5: 4", [5.0, 1.0]), Some(4.0));
    assert_eq!([rating("70%", [0.0, 100.0]), rating("Score: 70/100", [0.0, 100.0])], [Some(70.0); 2]);
    assert_eq!(rating("Score: -0.5", [-1.0, 1.0]), Some(-0.5));
    assert_eq!(rating("Score: 1,200", [0.0, 2000.0]), Some(1200.0));
    // Off the scale, which whoever asked sees.
    assert_eq!([rating("Score: -7", [0.0, 10.0]), rating("11", [0.0, 10.0])], [Some(-7.0), Some(11.0)]);
}

#[test]
fn the_last_number_is_no_whole() {
    assert_eq!(
        ["Step 1 holds. First wrong: 2", "step 2 of 3", "0", "none"].map(last_number),
        [Some(2.0), Some(2.0), Some(0.0), None]
    );
    assert_eq!(last_number("The first wrong step is step 2."), Some(2.0));
    assert_eq!(["Step 1 holds. First wrong: 3rd", "step 2²"].map(last_number), [None; 2]);
}

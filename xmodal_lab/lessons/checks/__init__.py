"""The checks of each lesson's exercises: a wrong answer is told what is off."""

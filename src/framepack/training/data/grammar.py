"""Prompts for motions: many phrasings, speeds, combinations, and free text around them. Text only, no tensors.

Also the vocabulary of the mini model's tokenizers: every word a prompt can hold, and common words a user may add.
Words outside it become one `<unk>` token, which training draws often enough to be harmless.
"""

from dataclasses import dataclass

from numpy.random import Generator

PHRASES: dict[str, tuple[str, ...]] = {
    "pan left": ("the camera pans left", "pan left", "camera moves to the left", "a shot panning left",
                 "the camera slides to the left", "panning to the left", "the view moves left"),
    "pan right": ("the camera pans right", "pan right", "camera moves to the right", "a shot panning right",
                  "the camera slides to the right", "panning to the right", "the view moves right"),
    "pan up": ("the camera tilts up", "pan up", "camera moves upward", "the camera pans up", "tilt up",
               "the camera rises", "the view moves up"),
    "pan down": ("the camera tilts down", "pan down", "camera moves downward", "the camera pans down", "tilt down",
                 "the camera sinks", "the view moves down"),
    "zoom in": ("the camera zooms in", "zoom in", "camera moves closer", "the camera pushes in", "zooming in",
                "the camera comes closer", "a slow dolly in"),
    "zoom out": ("the camera zooms out", "zoom out", "camera pulls back", "the camera moves away", "zooming out",
                 "the camera backs away", "dolly out"),
    "roll clockwise": ("the camera rolls clockwise", "roll clockwise", "the view turns clockwise",
                       "rotate clockwise", "the camera rotates clockwise", "rolling clockwise"),
    "roll counterclockwise": ("the camera rolls counterclockwise", "roll counterclockwise",
                              "the view turns counterclockwise", "rotate counterclockwise",
                              "the camera rotates counterclockwise", "rolling counterclockwise"),
    "sway": ("the camera sways", "sway side to side", "the view sways", "handheld sway",
             "the camera swings side to side"),
    "ripple": ("ripples spread like water", "the picture ripples", "waves ripple through the scene",
               "wavy water effect", "ripple like water"),
    "brighten": ("the scene brightens", "it gets brighter", "the sun rises", "the light grows", "brighten",
                 "everything becomes brighter"),
    "darken": ("the scene gets darker", "night falls", "the light fades", "it gets dark", "darken", "it gets darker",
               "everything becomes darker"),
    "warmer": ("the light gets warmer", "warmer colours", "the colours become warmer", "golden light spreads",
               "it turns warm"),
    "cooler": ("the light gets cooler", "cooler colours", "the colours become cooler", "blue light spreads",
               "it turns cold"),
    "still": ("a static shot", "nothing moves", "the camera stays still", "still", "the camera does not move",
              "a still picture"),
}  # fmt: skip

SUBJECTS = ("the ball", "the shape", "the object", "the thing", "something", "a shape", "an object", "the sprite",
          "the figure", "the toy", "the red ball", "the small object", "a big shape", "the bird",
          "the cat")  # fmt: skip
ACTIONS: dict[str, tuple[str, ...]] = {
    "sprite left": ("moves left", "moves to the left", "slides to the left", "flies left", "glides left",
                    "drifts to the left", "travels left", "goes left", "is moving left"),
    "sprite right": ("moves right", "moves to the right", "slides to the right", "flies right", "glides right",
                     "drifts to the right", "travels right", "goes right", "is moving right"),
    "sprite up": ("moves up", "rises", "flies up", "floats upward", "goes up", "moves upward", "floats up",
                  "is moving up"),
    "sprite down": ("moves down", "sinks", "slides down", "goes down", "moves downward", "floats down",
                    "is moving down"),
    "sprite falls": ("falls", "falls down", "drops", "falls to the ground", "drops down", "is falling"),
    "sprite bounces": ("bounces", "bounces up and down", "jumps up and down", "hops", "is bouncing", "jumps"),
    "sprite grows": ("grows", "gets bigger", "becomes larger", "grows larger", "expands", "is growing"),
    "sprite spins": ("spins", "spins around", "turns around", "rotates", "twirls", "is spinning"),
}  # fmt: skip
SPRITE_PHRASES = {motion: tuple(f"{thing} {deed}" for thing in SUBJECTS for deed in deeds)
                  for motion, deeds in ACTIONS.items()}  # fmt: skip
"""What a cut-out does, and who does it: 'the ball bounces'."""
LATER_TEXT = """
towards toward upwards downwards bigger larger smaller ground floor bounce bouncing fall falling drop dropping grow
growing spin spinning fly flying jump jumping jumps hop hops hopping expand expands swell swells float floats floating
drift drifts drifting glide glides gliding slide sliding travel travels goes comes go come rise rising sink
sinking twirl twirls whirls tumbles rotating turning moving item figure toy creature animal subject character
element piece cutout circle square triangle blob disc star box cube leaf balloon bubble feather stone plane kite robot
"""
LATER_WORDS = tuple(dict.fromkeys(LATER_TEXT.split()))
"""Words that came to the vocabulary after the first model was trained. Add new ones at the end, here and nowhere else:
a word's number must never change, or trained weights lose their meaning."""

PACES: dict[str, tuple[str, ...]] = {
    "slow": ("slowly", "gently"),
    "normal": ("",),
    "fast": ("quickly", "fast"),
}

JOINS = ("and", "while", ",", "as", "and then")

FILLER_TEXT = """
a an the my our your his her this that one two three some of in on at with from to by for over under near behind
beside is are was it its he she they there very really bright dark big small old new young red green blue yellow
white black brown grey pink orange warm cold soft hard beautiful quiet calm cinematic realistic detailed sharp
smooth high low long short film movie video photo picture image shot scene view frame clip style light shadow colour
color colours dog cat bird horse fish man woman boy girl child people person friend family baby face hand eyes hair
house home street city town road car bus train boat bridge tower castle church window door table chair cup coffee
food fruit apple flower flowers tree trees forest leaves grass field garden park mountain mountains hill valley
river lake sea ocean beach sand water wave waves sky sun moon stars cloud clouds rain snow fog wind fire smoke
rocket space planet day night morning evening sunset sunrise summer winter spring autumn background foreground 4k 8k
hd quality masterpiece lens focus depth texture atmosphere mood dramatic epic lovely tiny large tall wide open
closed empty full glass metal stone wood paper painting drawing anime portrait landscape sits stands smiles looks
walks dancing reading sleeping wearing holding please show make let everything something nothing here now then again
all around through into across . , ! ; - ( ) 1 2 3 4 5 ' "
"""
FILLERS = tuple(FILLER_TEXT.split())

UNKNOWN = "zzz"  # outside the vocabulary on purpose: it is tokenised as <unk>


@dataclass(frozen=True, kw_only=True)
class PromptMotion:
    """One motion at one speed, as a prompt names it."""

    name: str
    pace: str = "normal"


STILL = PromptMotion(name="still")


def phrase(random: Generator, motion: PromptMotion) -> str:
    """One phrasing: 'slowly the camera pans left'."""
    choices = PHRASES.get(motion.name) or SPRITE_PHRASES[motion.name]
    words, pace = choices[random.integers(len(choices))], PACES[motion.pace]
    pace_word = pace[random.integers(len(pace))]
    if not pace_word:
        return words
    return f"{words} {pace_word}" if random.random() < 0.7 else f"{pace_word} {words}"


def prompt_words(random: Generator, motions: tuple[PromptMotion, ...]) -> list[str]:
    """The words of a prompt that asks for all motions at once."""
    words: list[str] = []
    for motion in motions:
        if words:
            words += JOINS[random.integers(len(JOINS))].split()
        words += phrase(random, motion).split()
    return words


def pad_words(random: Generator, words: list[str], length: int) -> list[str]:
    """Free text around the words, `length` words in all: before, after or on both sides.

    Raises ValueError if the words are more than `length` already.
    """
    missing = length - len(words)
    if missing < 0:
        raise ValueError(f"a prompt of {len(words)} words does not fit {length}: ask for a longer one")
    before = (0, missing, int(random.integers(missing + 1)))[random.integers(3)]
    filler = [UNKNOWN if random.random() < 0.25 else FILLERS[random.integers(len(FILLERS))] for _ in range(missing)]
    return [*filler[:before], *words, *filler[before:]]

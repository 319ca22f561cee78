"""The words invented titles are made of, by genre; knows nothing of items or users."""

import numpy as np

# Genre -> adjectives and nouns, ten each.
WORDS: dict[str, tuple[str, str]] = {
    "Drama": (
        "Silent Broken Distant Quiet Borrowed Faded Unspoken Empty Patient Fragile",
        "Harbour Daughter Promise Winter Letter Orchard House River Inheritance Farewell",
    ),
    "Comedy": (
        "Clumsy Accidental Ridiculous Reluctant Cheerful Hopeless Lucky Noisy Awkward Sleepless",
        "Wedding Neighbour Holiday Landlord Pancake Reunion Butler Lottery Dentist Moustache",
    ),
    "Thriller": (
        "Deadly Hidden Final Double Stolen Cold Hunted Wired Ruthless Sleeping",
        "Witness Deadline Signal Passenger Alibi Ransom Exit Conspiracy Hostage Cipher",
    ),
    "Mystery": (
        "Vanishing Locked Crooked Veiled Thirteenth Whispering Missing Curious Ivory Midnight",
        "Room Portrait Key Heiress Clock Lighthouse Diary Staircase Guest Raven",
    ),
    "Romance": (
        "Tender Secret Sunlit Forever Velvet Stolen Wild Summer Gentle Endless",
        "Kiss Vineyard Waltz Stranger Garden Postcard Heart Bakery Sunset Rendezvous",
    ),
    "Science Fiction": (
        "Quantum Orbital Synthetic Infinite Parallel Frozen Neural Stellar Last Hollow",
        "Colony Android Horizon Station Paradox Starship Nebula Protocol Moon Machine",
    ),
    "Fantasy": (
        "Enchanted Forgotten Golden Cursed Elder Crimson Hidden Twilight Shattered Emerald",
        "Dragon Kingdom Throne Sorcerer Sword Prophecy Forest Crown Rune Unicorn",
    ),
    "Adventure": (
        "Lost Daring Uncharted Savage Burning Restless Buried Fearless Roaring Remote",
        "Island Expedition Temple Compass Jungle Summit Treasure Voyage Canyon Caravan",
    ),
    "Horror": (
        "Haunted Bleeding Hollow Screaming Rotten Pale Unholy Nameless Crawling Black",
        "Cellar Asylum Doll Cemetery Shadow Mirror Ritual Nightmare Basement Grave",
    ),
    "History": (
        "Imperial Ancient Fallen Noble Iron Royal Exiled Rebel Marble Conquered",
        "Empire Queen Siege Legion Dynasty Crusade Fortress Treaty Emperor Rebellion",
    ),
    "Crime": (
        "Dirty Perfect Crooked Wanted Corrupt Bloody Careless Unmarked Loaded Guilty",
        "Heist Detective Mobster Verdict Informer Safe Precinct Getaway Cartel Evidence",
    ),
    "Documentary": (
        "Inside Untold Real Public Unseen Digital Human Global Modern Everyday",
        "Archive Economy City Factory Election Language Medicine Museum Border Century",
    ),
    "Family": (
        "Magic Little Brave Giant Flying Happy Tiny Talking Snowy Jolly",
        "Puppy Treehouse Grandpa Circus Balloon Kitten Toybox Snowman Robot Picnic",
    ),
    "Music": (
        "Electric Blue Acoustic Golden Loud Unplugged Swinging Velvet Live Broken",
        "Guitar Chorus Concert Symphony Drummer Ballad Encore Jukebox Tour Melody",
    ),
    "Nature": (
        "Wild Deep Arctic Coral Green Migrating Living Volcanic Hidden Ancient",
        "Ocean Glacier Reef Savanna Penguin Wolf Rainforest Whale Meadow Mountain",
    ),
    "Sport": (
        "Winning Extra Golden Unbeaten Home Final Rising Marathon Fast Underdog",
        "Season Striker Coach Stadium Champion Sprint Tournament Goalkeeper League Medal",
    ),
}
GENRES = tuple(WORDS)
ADJECTIVES = [adjectives.split() for adjectives, _ in WORDS.values()]
NOUNS = [nouns.split() for _, nouns in WORDS.values()]
_STEMS = len(ADJECTIVES[0]) * len(NOUNS[0])


def series_titles(genre: int, count: int, rng: np.random.Generator) -> list[str]:
    """`count` different titles of a genre, in no order."""
    adjectives, nouns = ADJECTIVES[genre], NOUNS[genre]
    titles = []
    for number in rng.permutation(-(-count // _STEMS) * _STEMS)[:count].tolist():
        stem, again = number % _STEMS, number // _STEMS
        title = f"The {adjectives[stem % len(adjectives)]} {nouns[stem // len(adjectives)]}"
        if again:
            title += f" and the {nouns[(again - 1) % len(nouns)]}"
        titles.append(title if again <= len(nouns) else f"{title} {again // len(nouns) + 1}")
    return titles


def episode_title(genre: int, series: str, position: int, rng: np.random.Generator) -> str:
    """The title of the item at `position`, 0 for the first, of a series."""
    return series if position == 0 else f"{series}: {_pair(genre, rng)}"


def description(genre: int, second: int | None, rng: np.random.Generator) -> str:
    """Two sentences with words of the genre and of a second one, where there is one."""
    other = genre if second is None else second
    return (
        f"A {GENRES[genre].lower()} tale of the {_pair(genre, rng).lower()} and the {_pair(genre, rng).lower()}. "
        f"With the {_pair(other, rng).lower()}."
    )


def search_words(genre: int, code: int) -> str:
    """What somebody who looks for the genre types; `code` is any number from 0 up."""
    nouns, adjectives = NOUNS[genre], ADJECTIVES[genre]
    return f"{adjectives[code % len(adjectives)]} {nouns[code // len(adjectives) % len(nouns)]}".lower()


def _pair(genre: int, rng: np.random.Generator) -> str:
    adjectives, nouns = ADJECTIVES[genre], NOUNS[genre]
    return f"{adjectives[rng.integers(len(adjectives))]} {nouns[rng.integers(len(nouns))]}"

"""Plain words for things that photographs show: what an encoder with a text tower chooses among.

Written for this project; what people call things is suggested before them, by labels nearby.
"""

_THINGS = {
    "clothing": """
        shirt, T-shirt, blouse, long-sleeved shirt, polo shirt, sweater, hoodie, cardigan, vest,
        jacket, coat, raincoat, suit, dress, gown, skirt, shorts, trousers, jeans, leggings,
        pyjamas, swimsuit, bikini, underwear, bra, socks, tights, shoe, running shoe, sandal,
        boot, high-heeled shoe, slipper, hat, cap, cowboy hat, helmet, scarf, tie, bow tie,
        glove, belt, apron, uniform, kimono, sari, poncho, robe""",
    "worn and carried": """
        handbag, backpack, suitcase, purse, wallet, umbrella, sunglasses, glasses, watch,
        necklace, ring, bracelet, earring, wig, mask, shoelace, button, zip""",
    "people": """
        face, hand, foot, eye, child, baby, man, woman, crowd, couple, bride, athlete, dancer,
        musician, cook, doctor, police officer, firefighter, soldier, statue""",
    "pets and farm": """
        dog, puppy, cat, kitten, rabbit, hamster, guinea pig, goldfish, parrot, canary, horse,
        pony, donkey, cow, calf, bull, sheep, lamb, goat, pig, piglet, chicken, rooster, chick,
        duck, goose, turkey, pigeon""",
    "wild animals": """
        lion, tiger, leopard, cheetah, bear, polar bear, panda, koala, kangaroo, wolf, fox,
        raccoon, squirrel, hedgehog, mouse, rat, beaver, otter, badger, bat, deer, moose,
        antelope, zebra, giraffe, elephant, rhinoceros, hippopotamus, camel, buffalo, monkey,
        chimpanzee, gorilla, sloth, seal, walrus, dolphin, whale""",
    "birds": """
        eagle, hawk, owl, crow, sparrow, robin, swan, flamingo, pelican, penguin, peacock,
        ostrich, gull, heron, woodpecker, hummingbird, nest, egg, feather""",
    "other animals": """
        snake, lizard, crocodile, turtle, frog, toad, fish, shark, ray, eel, octopus, jellyfish,
        crab, lobster, shrimp, starfish, shell, coral, snail, worm, spider, scorpion, ant, bee,
        wasp, butterfly, moth, caterpillar, beetle, ladybird, dragonfly, fly, mosquito,
        grasshopper""",
    "plants": """
        tree, palm tree, leaf, branch, bark, bush, grass, moss, fern, cactus, flower, rose,
        tulip, daisy, sunflower, orchid, lily, potted plant, bouquet, mushroom, seed, pine cone,
        log""",
    "fruit and vegetables": """
        apple, pear, banana, orange, lemon, lime, grapefruit, peach, plum, cherry, strawberry,
        raspberry, blueberry, grapes, melon, watermelon, pineapple, mango, kiwi fruit,
        pomegranate, avocado, coconut, fig, tomato, cucumber, potato, carrot, onion, garlic,
        pepper, chilli, aubergine, courgette, pumpkin, broccoli, cauliflower, cabbage, lettuce,
        spinach, beans, peas, maize, asparagus, radish, beetroot, ginger, nuts, olive""",
    "food": """
        bread, roll, bagel, pretzel, croissant, sandwich, hamburger, hot dog, pizza, pasta,
        rice, noodles, soup, salad, sushi, steak, sausage, bacon, ham, fried egg, cheese,
        butter, pancake, waffle, cake, cupcake, pie, biscuit, doughnut, chocolate, sweets, ice
        cream, popcorn, crisps, cereal, yoghurt, honey, jam, sauce""",
    "drinks and packages": """
        milk, juice, water, coffee, tea, beer, wine, milk carton, juice carton, bottle, wine
        bottle, can, jar, tin, tube, packet, box, cardboard box, bag, plastic bag, basket,
        barrel, bucket, crate""",
    "kitchen": """
        cup, mug, glass, plate, bowl, fork, knife, spoon, chopsticks, pan, frying pan, pot,
        kettle, teapot, coffee pot, toaster, oven, cooker, microwave oven, refrigerator,
        dishwasher, blender, whisk, ladle, cutting board, tap, sink""",
    "home": """
        chair, armchair, rocking chair, stool, bench, sofa, table, desk, bed, cradle, mattress,
        pillow, blanket, curtain, carpet, wardrobe, cupboard, bookcase, shelf, drawer, mirror,
        lamp, candle, chandelier, vase, picture frame, wall clock, alarm clock, door, window,
        stairs, fireplace, radiator, fan, washing machine, iron, vacuum cleaner, broom, bath,
        shower, toilet, toilet paper, towel, soap, toothbrush, comb, hairdryer, lipstick,
        perfume, razor""",
    "office and electronics": """
        computer, laptop, screen, keyboard, computer mouse, printer, tablet, telephone, mobile
        phone, camera, television, remote control, loudspeaker, headphones, microphone, radio,
        projector, cable, plug, battery, light bulb, circuit board, robot, drone, book,
        notebook, newspaper, magazine, letter, envelope, stamp, map, poster, pen, pencil, ruler,
        scissors, stapler, paper clip, calculator, calendar, money, coin, credit card, key,
        padlock""",
    "tools and machines": """
        hammer, screwdriver, spanner, pliers, saw, drill, axe, shovel, rake, wheelbarrow,
        ladder, rope, chain, hook, nail, screw, nut, bolt, gear, spring, pipe, hose, valve,
        pump, engine, wheel, tyre, tape measure, paintbrush, lawn mower, tractor, excavator,
        crane, forklift, conveyor belt""",
    "vehicles": """
        car, sports car, van, lorry, pickup truck, bus, taxi, ambulance, fire engine, police
        car, racing car, motorcycle, scooter, bicycle, tram, train, locomotive, aeroplane,
        helicopter, rocket, hot-air balloon, ship, sailing boat, canoe, ferry, submarine,
        anchor, cart, sledge, pram, wheelchair""",
    "streets and buildings": """
        house, tower, skyscraper, church, mosque, temple, castle, palace, bridge, tunnel, road,
        pavement, crossroads, railway, station, airport, harbour, lighthouse, windmill, wind
        turbine, solar panel, dam, factory, barn, greenhouse, shop, market, restaurant, school,
        library, hospital, museum, stadium, swimming pool, fountain, gate, fence, wall, roof,
        chimney, street sign, traffic light, lamp post, post box, bin, tent, flag""",
    "landscape": """
        mountain, hill, valley, volcano, cliff, cave, rock, desert, beach, sea, wave, island,
        lake, river, waterfall, ice, glacier, snow, forest, meadow, field, garden, park, sky,
        cloud, rainbow, lightning, sun, moon, star, fire, smoke""",
    "sport and play": """
        ball, football, basketball, tennis ball, golf ball, rugby ball, tennis racket, baseball
        bat, hockey stick, ski, snowboard, skateboard, surfboard, dumb-bell, punching bag, goal,
        trophy, medal, doll, teddy bear, toy car, building blocks, jigsaw puzzle, playing card,
        chessboard, dice, balloon, kite, swing, slide, roundabout""",
    "music": """
        guitar, violin, cello, piano, drum, flute, trumpet, saxophone, harp, accordion""",
    "medicine and laboratory": """
        pill, syringe, bandage, stethoscope, X-ray picture, tooth, bone, skull, blood cell,
        bacterium, tissue, microscope, test tube, scale, thermometer, magnet""",
    "marks and pictures": """
        digit, letter of the alphabet, handwriting, printed page, table of numbers, diagram,
        graph, logo, bar code, painting, drawing, cartoon, sculpture, screenshot, texture,
        pattern, satellite picture, scratch, crack, hole, rust, stain""",
}  # fmt: skip

COMMON: tuple[str, ...] = tuple(
    dict.fromkeys(" ".join(word.split()) for words in _THINGS.values() for word in words.split(","))
)

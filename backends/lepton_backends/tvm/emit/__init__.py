"""From kernel regions to tensor expressions: scalar rules, index maps, vector math and kernel views."""

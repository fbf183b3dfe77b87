# Region-based dropout on the tokens of two blocks of a transformer: erasers need no ResNet.
_base_ = './deit-small_cub.py'
model = dict(erasing=[dict(type='mmentropy.RDAP', layers=('layers.8', 'layers.11'), drop_rate=0.75, size=0.25)])

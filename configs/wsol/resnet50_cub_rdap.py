# Region-based dropout: a quarter of the map's side around the attention's peak, on the last two stages.
_base_ = './resnet50_cub.py'
model = dict(erasing=[dict(type='mmentropy.RDAP', layers=('layer3', 'layer4'), drop_rate=0.75, size=0.25)])

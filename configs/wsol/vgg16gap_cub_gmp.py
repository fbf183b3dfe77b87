# Global maximum pooling in place of the average: the CAM paper's control, which marks the most telling spot alone.
_base_ = './vgg16gap_cub.py'
model = dict(neck=dict(_delete_=True, type='mmentropy.GlobalMaxPooling'))

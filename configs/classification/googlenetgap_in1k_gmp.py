# Global maximum pooling in place of the average: the CAM paper's control, which marks the most telling spot alone.
_base_ = './googlenetgap_in1k.py'
model = dict(neck=dict(_delete_=True, type='mmentropy.GlobalMaxPooling'))
